#!/bin/sh
# Runs each target named for SECONDS_EACH, then says what came of it. Fails if any input broke a promise.
set -u
cd "$(dirname "$0")" || exit 1
failed=0
summary=
export ASAN_OPTIONS="${ASAN_OPTIONS:-quarantine_size_mb=16:malloc_context_size=8:detect_leaks=0}"
for target in "$@"; do
    case $target in
        float_decode) longest=4096 ;;
        sniff) longest=2048 ;;
        *) longest=1024 ;;
    esac
    found=$BUILD/corpus/$target
    log=$BUILD/$target.log
    seeds=$BUILD/seeds/$target  # what the archive holds, if there is one; it is made anew each time
    rm -rf "$seeds" && mkdir -p "$found" "$seeds" || exit 1
    if [ -f "corpus/$target.zip" ]; then
        "${PYTHON:-python3}" corpus.py unpack "corpus/$target.zip" "$seeds" >/dev/null || exit 1
    fi
    start=$(date +%s)
    "$BUILD/$target" -max_total_time="$SECONDS_EACH" -max_len=$longest -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$BUILD/$target-" "$found" "$seeds" >"$log" 2>&1
    status=$?
    seconds=$(($(date +%s) - start))
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)
    crashes=0
    if [ $status -ne 0 ]; then
        crashes=1 failed=1
        grep -E 'broken:|ERROR|runtime error|SUMMARY|Test unit written' "$log"
    fi
    line=$(printf '%-17s %5s s %12s executions %6s edges %d crashes' "$target" "$seconds" "${runs:-?}" "${edges:-?}" $crashes)
    echo "$line"
    summary="$summary$line
"
done
printf '\n%s' "$summary" | tee "$BUILD/summary.txt"
exit $failed
