# Apache Traffic Server as its documentation's chapter on thundering herds wants it: read while writer, and a reader
# that meets a writer retries instead of going to the origin. By default it takes clients before its cache is ready, and
# writes the directory of its cache, without which a killed one has lost all, only once a minute.
case $1 in
check) command -v traffic_server >/dev/null && traffic_server -V | head -n 1 ;;
can) echo 'restart purge-url' ;;
run)
    mkdir -p "$BENCH_DIR/etc" "$BENCH_DIR/run" "$BENCH_DIR/log" "$BENCH_DIR/cache"
    cat >"$BENCH_DIR/runroot.yaml" <<CONFIG
prefix: /usr
exec_prefix: /usr
bindir: /usr/bin
sbindir: /usr/bin
sysconfdir: $BENCH_DIR/etc
datadir: $BENCH_DIR
includedir: /usr/include
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
localstatedir: $BENCH_DIR
runtimedir: $BENCH_DIR/run
logdir: $BENCH_DIR/log
mandir: /usr/share/man
infodir: /usr/share/info
cachedir: $BENCH_DIR/cache
CONFIG
    cat >"$BENCH_DIR/etc/records.config" <<CONFIG
CONFIG proxy.config.http.server_ports STRING $BENCH_PORT:ip-in=127.0.0.1
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT $BENCH_WORKERS
CONFIG proxy.config.http.wait_for_cache INT 1
CONFIG proxy.config.cache.dir.sync_frequency INT 1
CONFIG proxy.config.cache.enable_read_while_writer INT 1
CONFIG proxy.config.http.background_fill_active_timeout INT 0
CONFIG proxy.config.http.background_fill_completed_threshold FLOAT 0.0
CONFIG proxy.config.http.cache.open_write_fail_action INT 5
CONFIG proxy.config.http.cache.max_open_read_retries INT 100
CONFIG proxy.config.http.cache.open_read_retry_time INT 10
CONFIG proxy.config.http.cache.max_open_write_retries INT 1
CONFIG proxy.config.http.cache.required_headers INT 1
CONFIG proxy.config.http.insert_response_via_str INT 0
CONFIG proxy.config.http.push_method_enabled INT 0
CONFIG proxy.config.url_remap.pristine_host_hdr INT 1
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.diags.output.status STRING E
CONFIG proxy.config.net.connections_throttle INT 15000
CONFIG
    printf 'map / http://%s/\n' "$BENCH_ORIGIN" >"$BENCH_DIR/etc/remap.config"
    printf '%s 1G\n' "$BENCH_DIR/cache" >"$BENCH_DIR/etc/storage.config"
    cat >"$BENCH_DIR/etc/ip_allow.yaml" <<CONFIG
ip_allow:
  - { apply: in, ip_addrs: 127.0.0.0/8, action: allow, methods: ALL }
CONFIG
    : >"$BENCH_DIR/etc/plugin.config"
    exec traffic_server --run-root="$BENCH_DIR/runroot.yaml"
    ;;
purge)
    [ "$2" = url ] || exit 2
    "$BENCH_BIN/shield-bench" get -X PURGE "http://127.0.0.1:$BENCH_PORT$3"
    ;;
*) exit 2 ;;
esac
