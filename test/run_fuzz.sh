#!/bin/sh
# run_fuzz.sh SECONDS TARGET... - each libFuzzer target for so long, from test/fuzz/corpus/NAME into a scratch corpus; as many
# at once as there are cores.
set -eu

fuzz_one() { # SECONDS TARGET
    name=$(basename "$2")
    name=${name#fuzz_}
    kept=test/fuzz/corpus/$name scratch=$(dirname "$2")/corpus/$name log=$2.log seconds=$1 target=$2
    mkdir -p "$scratch"
    set -- "$scratch"
    [ -d "$kept" ] || { echo "fuzz $name: no corpus in $kept"; return 1; }
    set -- "$@" "$kept"
    [ ! -f "test/fuzz/$name.dict" ] || set -- "-dict=test/fuzz/$name.dict" "$@"
    if "$target" "-max_total_time=$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        "-artifact_prefix=$target-" "$@" >"$log" 2>&1; then
        echo "fuzz $name: ok, $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs"
    else
        tail -n 40 "$log"
        echo "fuzz $name: FAILED, see $log"
        return 1
    fi
}

if [ "$1" = --one ]; then
    fuzz_one "$2" "$3"
    exit
fi
seconds=$1
shift
result=0
printf '%s\n' "$@" | xargs -n 1 -P "$(nproc)" sh "$0" --one "$seconds" || result=1
failed=0
for target in "$@"; do
    grep -q '^stat::number_of_executed_units' "$target.log" && ! grep -q 'SUMMARY: ' "$target.log" || failed=$((failed + 1))
done
echo "fuzz: $(($# - failed)) passed, $failed failed"
exit "$result"
