# Varnish with its builtin VCL, which collapses, and what its documentation gives for purges. It stores in memory.
case $1 in
check) PATH=$PATH:/usr/sbin; command -v varnishd >/dev/null && varnishd -V 2>&1 ;;
can) echo 'swr purge-url purge-tag purge-all' ;;
run)
    PATH=$PATH:/usr/sbin
    cat >"$BENCH_DIR/shield.vcl" <<VCL
vcl 4.1;
backend default {
    .host = "${BENCH_ORIGIN%:*}"; .port = "${BENCH_ORIGIN##*:}";
    .max_connections = 200;
}
sub vcl_recv {
    if (req.method == "PURGE") { return (purge); }
    if (req.method == "BAN") {
        if (req.http.Ban-Tag) { ban("obj.http.Surrogate-Key ~ (^|\s)" + req.http.Ban-Tag + "(\s|\$)"); }
        else { ban("obj.status != 0"); }
        return (synth(200, "banned"));
    }
}
VCL
    # -j none: its jail would change to a user that cannot enter BENCH_DIR
    exec varnishd -F -j none -n "$BENCH_DIR/work" -f "$BENCH_DIR/shield.vcl" -a "127.0.0.1:$BENCH_PORT" \
        -T none -s malloc,1g -p thread_pools="$BENCH_WORKERS"
    ;;
purge)
    url=http://127.0.0.1:$BENCH_PORT
    case $2 in
    url) "$BENCH_BIN/shield-bench" get -X PURGE "$url$3" ;;
    tag) "$BENCH_BIN/shield-bench" get -X BAN -H "Ban-Tag: $3" "$url/" ;;
    all) "$BENCH_BIN/shield-bench" get -X BAN "$url/" ;;
    *) exit 2 ;;
    esac
    ;;
*) exit 2 ;;
esac
