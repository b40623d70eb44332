# HAProxy with its small-object cache, as its documentation gives it. It does not collapse, and stores nothing above
# max-object-size: it is here for its cost of a hit.
case $1 in
check) PATH=$PATH:/usr/sbin; command -v haproxy >/dev/null && haproxy -v ;;
can) echo '' ;;
run)
    PATH=$PATH:/usr/sbin
    cat >"$BENCH_DIR/haproxy.cfg" <<CONFIG
global
    nbthread $BENCH_WORKERS
    maxconn 9000
    tune.maxrewrite 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
cache shield
    total-max-size 1024             # MiB
    max-object-size 16777216
    max-age 86400                   # by default nothing is kept longer than 60 s
    process-vary on
frontend edges
    bind 127.0.0.1:$BENCH_PORT backlog 8192
    http-request cache-use shield
    http-response cache-store shield
    default_backend origin
backend origin
    server origin $BENCH_ORIGIN maxconn 1000
CONFIG
    exec haproxy -db -f "$BENCH_DIR/haproxy.cfg"
    ;;
*) exit 2 ;;
esac
