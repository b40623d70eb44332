# shield: as it comes; only where it listens and where it stores is said.
case $1 in
check) [ -x "$BENCH_BIN/shield" ] && "$BENCH_BIN/shield" -V | head -n 1 ;;
can) echo 'restart swr stale-if-error' ;; # purges come with their issue
run)
    exec "$BENCH_BIN/shield" --listen "127.0.0.1:$BENCH_PORT" --admin "127.0.0.1:$BENCH_ADMIN_PORT" \
        --origin "http://$BENCH_ORIGIN" --store "$BENCH_DIR/store" --workers "$BENCH_WORKERS"
    ;;
*) exit 2 ;;
esac
