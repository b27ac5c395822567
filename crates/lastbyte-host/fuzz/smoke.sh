#!/bin/sh
# Each fuzz target for a few seconds, beginning with the captured bytes. Needs
# cargo-fuzz and a nightly toolchain.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-10}
mkdir -p fuzz/corpus/netlink fuzz/corpus/tracefs_format fuzz/corpus/trace_record
cp fixtures/*.bin fuzz/corpus/netlink/
cp fixtures/*.bin fuzz/corpus/trace_record/
cp fixtures/*.format fuzz/corpus/tracefs_format/
for target in netlink tracefs_format trace_record perf_record procnet joiner; do
    cargo +nightly fuzz run "$target" -- -max_total_time="$seconds"
done
