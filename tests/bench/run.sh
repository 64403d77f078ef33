#!/bin/sh
# The benchmark: builds the release binary, runs it and the yardstick in turns, prints one table.
# Arguments: --events N (per topic), --runs N, --batch-rows N, --only yardstick|product|replay|lanes
set -eu
cd "$(dirname "$0")/../.."
exec cargo bench --locked --quiet --bench load -- "$@"
