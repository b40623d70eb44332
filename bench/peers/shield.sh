# shield: as it comes; only where it listens and where it stores is said.
case $1 in
check) [ -x "$BENCH_BIN/shield" ] && "$BENCH_BIN/shield" -V | head -n 1 ;;
can) echo 'restart swr stale-if-error purge-url purge-tag purge-all' ;;
run)
    exec "$BENCH_BIN/shield" --listen "127.0.0.1:$BENCH_PORT" --admin "127.0.0.1:$BENCH_ADMIN_PORT" \
        --origin "http://$BENCH_ORIGIN" --store "$BENCH_DIR/store" --workers "$BENCH_WORKERS"
    ;;
purge)
    ask="$BENCH_BIN/shieldctl --admin 127.0.0.1:$BENCH_ADMIN_PORT purge"
    case $2 in
    url) $ask --url "http://127.0.0.1:$BENCH_PORT$3" ;;
    tag) $ask --tag "$3" ;;
    all) $ask --all ;;
    *) exit 2 ;;
    esac
    ;;
*) exit 2 ;;
esac
