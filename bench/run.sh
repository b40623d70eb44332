#!/bin/sh
# The tables of `make bench`: what Shield costs, beside the least that epoll can do for the same bytes.
#
#   sh bench/run.sh BUILD_DIR [TABLE]...     tables: hit purge ratio stampede stream store idle linear; all of these without one;
#                                            and wrk, our tool beside wrk, where that is installed
#
# Both sides of a ratio run in the same minute, in alternating rounds; what is shown is the median. Speed never
# fails the run: it exits 1 when an origin fetch was made twice, a request failed or a stored object is gone.
set -u
bin=${1:?usage: sh bench/run.sh BUILD_DIR [TABLE]...}
shift
bin=$(cd "$bin" && pwd) || exit 2
here=$(dirname "$0")
tmp=$(mktemp -d "${TMPDIR:-/tmp}/shield-bench-XXXXXX") || exit 1
. "$here/run_lib.sh"
trap 'stop_all; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

for program in shield shield-bench bare-server purge-check hit-ratio; do
    [ -x "$bin/$program" ] || fail "$bin/$program is missing: run make"
done

# ---- CPU of a hit

hit_round() # SERVER REQUESTS URL ARGUMENT...: one line of microseconds per request in $tmp/SERVER.hits
{
    server=$1 requests=$2
    shift 2
    before=$(cpu_us "$server")
    load "$tmp/hit.json" -c 64 -n "$requests" "$@"
    calc "($(cpu_us "$server") - $before) / $requests" "%.3f\n" >>"$tmp/$server.hits"
}

hit_row() # WHAT SIZE REQUESTS KEYS TARGET
{
    start bare "$bin/bare-server" --size "$2"
    rm -f "$tmp/shield.hits" "$tmp/bare.hits"
    url="http://$(address shield)/hit-$2/{n}?size=$2" floor="http://$(address bare)/hit/{n}"
    load "$tmp/warm.json" -c 64 -n "$4" --keys "$4" --verify "$url"
    load "$tmp/warm.json" -c 64 -n 64 "$floor"
    for round in 1 2 3 4 5; do
        hit_round shield "$3" --keys "$4" --order random --seed $round "$url"
        hit_round bare "$3" --keys "$4" --order random --seed $round "$floor"
    done
    own=$(median <"$tmp/shield.hits") least=$(median <"$tmp/bare.hits")
    printf '  %-20s %9.1f us %9.1f us %8.2fx   %s\n' "$1" "$own" "$least" "$(calc "$own / $least")" "$5"
    stop bare
}

table_hit()
{
    printf '\nCPU per hit, one worker, 64 keep-alive connections\n'
    printf '  %-20s %12s %12s %9s   %s\n' '' shield bare-server ratio target
    start_shield shield 1
    forget
    hit_row '1 KiB' 1k 100000 1 '1.60x'
    hit_row '64 KiB' 64k 25000 1 -
    hit_row '1 MiB' 1m 2000 1 -
    hit_row '10,000 of 4 KiB' 4k 80000 10000 -
    expect_fetches 10003 'hits'
    stop shield
}

# ---- purges

table_purge()
{
    printf '\nEach hit held against the purges in force: a URL of 90 bytes, 5 tags\n'
    printf '  %-34s %11s   %s\n' '' 'each' target
    "$bin/purge-check" || broken 'purge-check found what is not there'
}

# ---- what the tiers find

table_ratio()
{
    printf '\nHit ratio of both tiers, beside an ideal LRU of 85 %% of their size; 60,000 requests each\n'
    printf '  %-5s %-26s %9s %9s %7s   %20s   %s\n' '' '' ours LRU gain 'of bytes: ours, LRU' target
    "$bin/hit-ratio" 2>"$tmp/ratio.err" || broken 'a tier finds less than it should'
}

# ---- stampede

stampede_round() # WORKERS ROUND
{
    forget
    load "$tmp/own.json" --stampede -c 1000 --verify "http://$(address shield)/cold-$2?size=64k&delay=200ms"
    expect_fetches 1 "stampede with $1 workers"
    number last_byte_us.max "$tmp/own.json" >>"$tmp/own.slowest"
    load "$tmp/bare.json" --stampede -c 1000 --verify "http://$(address bare)/bare"
    number last_byte_us.max "$tmp/bare.json" >>"$tmp/bare.slowest"
}

stampede_row() # WORKERS
{
    start_shield shield "$1"
    start bare "$bin/bare-server" --fanout --size 64k --delay 200ms --threads "$1"
    rm -f "$tmp/own.slowest" "$tmp/bare.slowest"
    for round in 1 2 3 4 5; do
        stampede_round "$1" $round
    done
    own=$(median <"$tmp/own.slowest") least=$(median <"$tmp/bare.slowest")
    printf '  %-20s %9.1f ms %9.1f ms %8.2fx   1.50x beyond the delay; 1 fetch, 0 errors\n' \
        "$1 worker(s)" "$(calc "$own / 1000")" "$(calc "$least / 1000")" \
        "$(calc "($own - 200000) / ($least - 200000 + 1)")"
    stop shield
    stop bare
}

table_stampede()
{
    printf '\nStampede: 1,000 clients on one cold 64 KiB object, origin delay 200 ms; the slowest client\n'
    printf '  %-20s %12s %12s %9s   %s\n' '' shield bare-server ratio target
    stampede_row 1
    stampede_row 2
}

# ---- a slow body, streamed to many

stream_round() # ROUND
{
    start_shield shield 1
    start bare "$bin/bare-server" --fanout --size 8m --delay 0 --drip 2s
    load "$tmp/warm.json" -c 10 -n 200 "http://$(address shield)/warm"
    forget
    rss=$(memory_kb shield RSS) own=$(cpu_us shield)
    load "$tmp/own.json" --stampede -c 200 --verify "http://$(address shield)/drip-$1?size=8m&drip=2s"
    expect_fetches 1 'streaming'
    calc "$(cpu_us shield) - $own" '%.0f\n' >>"$tmp/own.cpu"
    calc "($(memory_kb shield HWM) - $rss) / 8192" '%.2f\n' >>"$tmp/own.growth"
    origin_stats "$tmp/stats.json"
    released=$(number release_ns "$tmp/own.json") first=$(number latest.first_ns "$tmp/stats.json")
    half=$(number latest.half_ns "$tmp/stats.json")
    calc "($released + $(number first_byte_us.max "$tmp/own.json") * 1000 - $first) / 1e6" '%.1f\n' >>"$tmp/own.first"
    calc "($released + $(number half_us.max "$tmp/own.json") * 1000 - $first) / ($half - $first)" '%.3f\n' \
        >>"$tmp/own.half"

    least=$(cpu_us bare)
    load "$tmp/bare.json" --stampede -c 200 --verify "http://$(address bare)/bare"
    calc "$(cpu_us bare) - $least" '%.0f\n' >>"$tmp/bare.cpu"
    stop shield
    stop bare
}

table_stream()
{
    printf '\nStreaming: 200 clients on one 8 MiB object that the origin drips over 2 s, one worker\n'
    for round in 1 2 3; do
        stream_round $round
    done
    own=$(median <"$tmp/own.cpu") least=$(median <"$tmp/bare.cpu")
    row='  %-42s %20s   %s\n'
    printf "$row" '' measured target
    printf "$row" 'first byte: slowest client after the origin' "$(median <"$tmp/own.first") ms" '60 ms'
    printf "$row" "half: slowest client's time against origin's" "$(median <"$tmp/own.half")x" '1x'
    printf "$row" 'server CPU: shield, bare-server' \
        "$(calc "$own / 1000" %.0f) ms, $(calc "$least / 1000" %.0f) ms" ''
    printf "$row" 'server CPU against bare-server' "$(calc "$own / ($least + 1)")x" '1.50x'
    printf "$row" 'memory growth against the object' "$(median <"$tmp/own.growth")x" '2x'
}

# ---- the store: what a write costs, what a restart keeps

objects=20000

is_durable()
{
    [ "$(metric "$1" shield_store_pending_objects)" = 0 ]
}

fill() # SERVER: all objects once; prints the CPU for each in microseconds
{
    before=$(cpu_us "$1")
    load "$tmp/fill.json" -c 64 -n $objects --keys $objects "http://$(address "$1")/object/{n}?size=16k"
    await 30 is_durable "$1" || fail 'the store did not become durable in 30 s'
    calc "($(cpu_us "$1") - $before) / $objects" %.1f
}

write_cost()
{
    start_shield memory 1 --set store.ram=1g
    without=$(fill memory) || exit 1
    stop memory
    start_shield shield 1 --store "$tmp/store" --set store.size=1g
    with=$(fill shield) || exit 1
    printf "$row" 'CPU per object, fetched and served' "$without us" ''
    printf "$row" 'CPU per object, stored as well' "$with us" '100 us'
    printf "$row" 'the store alone' "$(calc "$with - $without" %.1f) us" ''
}

restart_row() # SIGNAL
{
    port=$(address shield)
    stop shield "$1"
    forget
    start shield "$bin/shield-bench" start --report "$tmp/first.json" "http://$port/object/77?size=16k" -- \
        "$bin/shield" --origin "http://$(address origin)" --listen "$port" --admin 127.0.0.1:0 --workers 1 \
        --store "$tmp/store" --set store.size=1g
    await 15 test -s "$tmp/first.json" || fail 'no answer after the restart'
    [ "$(number status "$tmp/first.json")" = 200 ] || broken "no good first answer after SIG$1"
    load "$tmp/again.json" -c 64 -n $objects --keys $objects --verify "http://$port/object/{n}?size=16k"
    hits=$(number cache.hit "$tmp/again.json")
    expect_fetches 0 "after SIG$1"
    printf "$row" "after SIG$1: first hit after exec" "$(calc "$(number first_answer_us "$tmp/first.json") / 1000" %.1f) ms" '50 ms'
    printf "$row" "after SIG$1: hits of $objects" "$(calc "100 * $hits / $objects" %.2f) %" '100 %'
    [ "$hits" = $objects ] || broken "after SIG$1 only $hits of $objects were hits"
}

table_store()
{
    printf '\nStore: 20,000 objects of 16 KiB, one worker; restarts once all is durable\n'
    row='  %-42s %20s   %s\n'
    printf "$row" '' measured target
    write_cost
    restart_row TERM
    restart_row KILL
    stop shield
}

# ---- idle connections

table_idle()
{
    limit=$(ulimit -Hn)
    n=10000
    [ "$limit" = unlimited ] || [ "$limit" -ge $((n + 700)) ] || n=$((limit - 700))
    start_shield shield 1
    load "$tmp/warm.json" -c 64 -n 6400 "http://$(address shield)/idle?size=1k"
    before=$(memory_kb shield RSS)
    : >"$tmp/idle.json"
    "$bin/shield-bench" run -o json --stampede -c $n --hold 60s "http://$(address shield)/idle?size=1k" \
        >"$tmp/idle.json" 2>"$tmp/idle.err" &
    echo $! >"$tmp/idle.pid"
    await 60 grep -q tool_cpu_us "$tmp/idle.json" || fail 'the idle clients did not get their answers'
    [ "$(number ok "$tmp/idle.json")" = $n ] || broken "idle: $(number ok "$tmp/idle.json") of $n requests were good"
    printf '\nIdle keep-alive connections, each after one request: %s\n' $n
    row='  %-42s %20s   %s\n'
    printf "$row" '' measured target
    printf "$row" 'resident memory each' \
        "$(calc "($(memory_kb shield RSS) - $before) * 1024 / $n" %.0f) bytes" '2048 bytes'
    stop idle
    stop shield
}

# ---- what grows with the size of a message

table_linear()
{
    command -v python3 >/dev/null || { printf '\nGrowth: needs python3\n'; return; }
    printf '\nCPU for one message, and for one of four times the size; one worker, limits raised. Linear is 4x\n'
    python3 -B "$here/linear.py" "$bin/shield" || printf '  not linear, or the machine was busy: see above\n'
}

# ---- this tool beside wrk

to_us() # of a time as wrk writes it
{
    sed -n 's/us$//p; s/ms$/ 1000/p; s/[0-9]s$/& 1000000/p' | awk '{ sub(/s$/, "", $1); print $1 * (NF > 1 ? $2 : 1) }'
}

own_cpu_us() # COMMAND...: runs it with its output in $tmp/out; prints its user and system time
{
    LC_ALL=C sh -c '"$@" >"$0"; times' "$tmp/out" "$@" | awk 'END { split($0, t, /[ms ]+/)
        print (t[1] * 60 + t[2] + t[3] * 60 + t[4]) * 1e6 }'
}

wrk_round() # CONNECTIONS URL
{
    cpu=$(own_cpu_us taskset -c 1 wrk -t 1 -c "$1" -d 1s --latency "$2")
    awk '/Requests.sec/ { print $2 }' "$tmp/out" >>"$tmp/wrk.rate"
    awk '$1 == "50%" { print $2 }' "$tmp/out" | to_us >>"$tmp/wrk.p50"
    calc "$cpu / $(awk '/requests in/ { print $1 }' "$tmp/out")" '%.2f\n' >>"$tmp/wrk.cpu"
    cpu=$(own_cpu_us taskset -c 1 "$bin/shield-bench" run -o json -c "$1" -d 1s "$2")
    number requests_per_s "$tmp/out" >>"$tmp/own.rate"
    number last_byte_us.p50 "$tmp/out" >>"$tmp/own.p50"
    calc "$cpu / $(number requests "$tmp/out")" '%.2f\n' >>"$tmp/own.cpu"
}

wrk_row() # SIZE CONNECTIONS
{
    start bare taskset -c 0 "$bin/bare-server" --size "$1"
    rm -f "$tmp"/wrk.* "$tmp"/own.*
    for round in 1 2 3 4 5; do
        wrk_round "$2" "http://$(address bare)/bare"
    done
    for what in rate p50 cpu; do
        eval "own_$what=$(median <"$tmp/own.$what") wrk_$what=$(median <"$tmp/wrk.$what")"
    done
    printf '  %-10s %5d %9.0f %9.0f %7.2fx %8.0f %8.0f %9.1f %8.1f\n' "$1" "$2" "$own_rate" "$wrk_rate" \
        "$(calc "$own_rate / $wrk_rate")" "$own_p50" "$wrk_p50" "$own_cpu" "$wrk_cpu"
    stop bare
}

table_wrk()
{
    for program in wrk taskset; do
        command -v $program >/dev/null || fail "the table wrk needs $program"
    done
    printf '\nThis tool beside wrk: bare-server on core 0, the tool on core 1\n'
    printf '  %-10s %5s %9s %9s %8s %8s %8s %9s %8s\n' size conns ours/s wrk/s ratio 'ours p50' 'wrk p50' 'CPU us' wrk
    wrk_row 1k 1
    wrk_row 64k 1
    wrk_row 1m 1
    wrk_row 1k 10
    wrk_row 1k 64
    wrk_row 64k 10
}

start origin "$bin/shield-bench" origin --listen 127.0.0.1:0
printf '%s, %s, %s processors\n' "$("$bin/shield" -V | head -n 1)" "$(uname -sr)" "$(getconf _NPROCESSORS_ONLN)"
[ $# -gt 0 ] || set -- hit purge ratio stampede stream store idle linear
for table in "$@"; do
    case $table in
    hit | purge | ratio | stampede | stream | store | idle | linear | wrk) "table_$table" ;;
    *) fail "$table is not a table: hit purge ratio stampede stream store idle linear wrk" ;;
    esac
done
if [ -s "$tmp/broken" ]; then
    printf '\nNot all invariants held:\n'
    sed 's/^/  /' "$tmp/broken"
    exit 1
fi
printf '\nAll invariants held: one fetch for each key, no failed request, no lost object.\n'
