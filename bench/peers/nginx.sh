# nginx as an origin shield, as its documentation recommends for one. It purges only with a third-party module.
case $1 in
check) PATH=$PATH:/usr/sbin; command -v nginx >/dev/null && nginx -v 2>&1 ;;
can) echo 'swr stale-if-error restart' ;;
run)
    PATH=$PATH:/usr/sbin
    [ "$(id -u)" = 0 ] && user='user root;' # else the workers could not enter BENCH_DIR
    cat >"$BENCH_DIR/nginx.conf" <<CONFIG
$user
daemon off;
worker_processes $BENCH_WORKERS;
pid $BENCH_DIR/pid;
error_log stderr error;
worker_rlimit_nofile 65536;
events { worker_connections 20000; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;   # by default a client must connect again after 1,000
    client_body_temp_path $BENCH_DIR/body;
    proxy_temp_path $BENCH_DIR/temp;
    fastcgi_temp_path $BENCH_DIR/f; uwsgi_temp_path $BENCH_DIR/u; scgi_temp_path $BENCH_DIR/s;
    proxy_cache_path $BENCH_DIR/cache levels=1:2 keys_zone=shield:64m max_size=4g inactive=1d use_temp_path=off;
    upstream origin { server $BENCH_ORIGIN; keepalive 64; }
    server {
        listen 127.0.0.1:$BENCH_PORT backlog=8192 reuseport;
        location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;               # keep-alive towards the origin
            proxy_set_header Connection "";
            proxy_set_header Host \$http_host;
            proxy_cache shield;
            proxy_cache_lock on;                  # collapse misses
            proxy_cache_lock_timeout 60s;         # by default waiters go to the origin after 5 s
            proxy_cache_lock_age 60s;
            proxy_cache_revalidate on;
            proxy_cache_background_update on;     # stale-while-revalidate
            proxy_cache_use_stale updating error timeout http_500 http_502 http_503 http_504;
            add_header X-Cache-Status \$upstream_cache_status;
        }
    }
}
CONFIG
    exec nginx -p "$BENCH_DIR" -c "$BENCH_DIR/nginx.conf"
    ;;
*) exit 2 ;;
esac
