# What the tables of `make bench` are made with; read by run.sh, which sets $bin and $tmp.
# shellcheck shell=sh
#
# A server is started under a short name: its output is $tmp/NAME.out, its process $(pid NAME), its address
# $(address NAME).

fail() # MESSAGE...: the run cannot go on
{
    echo "bench: $*" >&2
    exit 1
}

broken() # MESSAGE...: an invariant does not hold; the run goes on and ends with 1
{
    printf '  BROKEN: %s\n' "$*"
    echo "$*" >>"$tmp/broken"
}

# ---- numbers

calc() # EXPRESSION [FORMAT]
{
    awk "BEGIN { printf \"${2:-%.2f}\", $1 }"
}

median() # of the lines on stdin
{
    sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# One number of the tool's JSON: `number ok FILE`, or `number last_byte_us.max FILE`.
number()
{
    case $1 in
    *.*) sed -n "s/.*\"${1%.*}\":{[^}]*\"${1#*.}\":\\([0-9.]*\\).*/\\1/p" "$2" | head -n 1 ;;
    *) sed -n "s/.*\"$1\":\\([0-9.]*\\).*/\\1/p" "$2" | head -n 1 ;;
    esac
}

# ---- servers

pid()
{
    cat "$tmp/$1.pid"
}

await() # SECONDS COMMAND...: until it succeeds
{
    tries=$(($1 * 50))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.02
    done
}

is_ready()
{
    grep -q 'ready .*listen=' "$tmp/$1.out"
}

ready_value() # NAME FIELD
{
    sed -n "s/.*ready .*$2=\\([^ ,\"]*\\).*/\\1/p" "$tmp/$1.out" | head -n 1
}

address()
{
    ready_value "$1" listen
}

start() # NAME PROGRAM ARGUMENT...
{
    name=$1
    shift
    : >"$tmp/$name.out"
    "$@" >"$tmp/$name.out" 2>&1 &
    echo $! >"$tmp/$name.pid"
    await 10 is_ready "$name" || { cat "$tmp/$name.out" >&2; fail "$name did not get ready"; }
}

start_shield() # NAME WORKERS ARGUMENT...
{
    name=$1 workers=$2
    shift 2
    start "$name" "$bin/shield" --origin "http://$(address origin)" --listen 127.0.0.1:0 --admin 127.0.0.1:0 \
        --workers "$workers" "$@"
}

stop() # NAME [SIGNAL]
{
    [ -f "$tmp/$1.pid" ] || return 0
    kill -"${2:-TERM}" "$(pid "$1")" 2>/dev/null
    wait "$(pid "$1")" 2>/dev/null
    rm -f "$tmp/$1.pid"
}

stop_all()
{
    for file in "$tmp"/*.pid; do
        [ -f "$file" ] && stop "$(basename "$file" .pid)" KILL
    done
}

# ---- what a server uses

ticks_per_s=$(getconf CLK_TCK)

# User and system time of NAME so far, in microseconds (proc(5): fields 14 and 15, counted behind the name).
cpu_us()
{
    sed 's/.*) //' "/proc/$(pid "$1")/stat" | awk -v hz="$ticks_per_s" '{ printf "%.0f", ($12 + $13) * 1e6 / hz }'
}

memory_kb() # NAME RSS|HWM
{
    awk -v field="Vm$2:" '$1 == field { print $2 }' "/proc/$(pid "$1")/status"
}

metric() # NAME SERIES: one plain series of the admin port's /metrics
{
    "$bin/shield-bench" get "http://$(ready_value "$1" admin)/metrics" | awk -v s="$2" '$1 == s { print $2; exit }'
}

# ---- load

load() # FILE ARGUMENT...: runs the edges, keeps the JSON; a failed request is a broken invariant
{
    file=$1
    shift
    "$bin/shield-bench" run -o json "$@" >"$file" 2>"$file.err" && return 0
    [ -s "$file" ] || { cat "$file.err" >&2; fail "shield-bench run $*"; }
    broken "$(number ok "$file") of $(number requests "$file") requests were good: run $*"
}

forget() # the origin's counts
{
    "$bin/shield-bench" get "http://$(address origin)/.bench/reset" >/dev/null || fail "the origin does not answer"
}

origin_stats() # FILE
{
    "$bin/shield-bench" get "http://$(address origin)/.bench/stats" >"$1" || fail "the origin does not answer"
}

fetches() # since forget
{
    "$bin/shield-bench" get "http://$(address origin)/.bench/stats?keys=off" >"$tmp/fetches"
    number total.fetches "$tmp/fetches"
}

expect_fetches() # N WHAT
{
    got=$(fetches)
    [ "$got" = "$1" ] || broken "$2: $got origin fetches instead of $1"
}
