#!/bin/sh
# Each fuzz target for a few seconds, beginning with the captured bytes. Needs
# cargo-fuzz; where there is no nightly toolchain, the stable one is told to take
# the sanitizer's flags.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-10}
toolchain=+nightly
cargo +nightly --version >/dev/null 2>&1 || {
    toolchain=
    export RUSTC_BOOTSTRAP=1
}
mkdir -p fuzz/corpus/netlink fuzz/corpus/tracefs_format fuzz/corpus/trace_record
cp ../lastbyte-tcp/fixtures/*.bin fuzz/corpus/netlink/
cp fixtures/*.bin fuzz/corpus/trace_record/
cp fixtures/*.format fuzz/corpus/tracefs_format/
for target in netlink tracefs_format trace_record perf_record procnet tracker; do
    # shellcheck disable=SC2086
    cargo $toolchain fuzz run "$target" -- -max_total_time="$seconds" -verbosity=0 -print_final_stats=1
done
