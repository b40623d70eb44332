# Squid as an accelerator with collapsed_forwarding. One worker: more of them share no collapsing of memory hits.
# It stores in memory, because it gives up root and then could not enter BENCH_DIR. It fetches whole what is asked for in
# parts (by default each part is a fetch of its own), and to the end what its client has left.
case $1 in
check) PATH=$PATH:/usr/sbin; command -v squid >/dev/null && squid -v ;;
can) echo 'purge-url' ;;
run)
    PATH=$PATH:/usr/sbin
    cat >"$BENCH_DIR/squid.conf" <<CONFIG
http_port 127.0.0.1:$BENCH_PORT accel defaultsite=127.0.0.1:$BENCH_PORT no-vhost
cache_peer ${BENCH_ORIGIN%:*} parent ${BENCH_ORIGIN##*:} 0 no-query originserver no-digest
range_offset_limit none
quick_abort_min -1 KB
acl purge method PURGE
http_access allow purge localhost
http_access deny purge
http_access allow all
collapsed_forwarding on
cache_mem 1024 MB
maximum_object_size 64 MB
maximum_object_size_in_memory 64 MB
memory_cache_shared off
max_filedescriptors 20000
access_log none
cache_log /dev/null
cache_store_log none
pid_filename none
coredump_dir /
shutdown_lifetime 1 seconds
CONFIG
    exec squid -N -f "$BENCH_DIR/squid.conf"
    ;;
purge)
    [ "$2" = url ] || exit 2
    "$BENCH_BIN/shield-bench" get -X PURGE "http://127.0.0.1:$BENCH_PORT$3"
    ;;
*) exit 2 ;;
esac
