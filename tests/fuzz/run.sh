#!/bin/sh
# Builds every fuzz target and runs each for so many seconds (default 60): tests/fuzz/run.sh [SECONDS [TARGET...]]
# Needs a C++ compiler for libFuzzer and the stable toolchain: all code is safe Rust, so coverage is instrumented and no
# sanitizer is. New inputs gather under target/fuzz; a crash is written there as crash-*.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- wire avro json values version config
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target the flags reach neither build scripts nor macros, which could not link.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" cargo build --release --locked --quiet --features fuzzer --target "$host"
for target in "$@"; do
    mkdir -p "target/fuzz/$target"
    echo "== $target, $seconds s"
    nice -n 19 "target/$host/release/$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -artifact_prefix=target/fuzz/ \
        -print_final_stats=1 "target/fuzz/$target" "../../testdata/fuzz/$target"
done
