#!/bin/sh
# The benchmark: builds the release binary, runs it in turns with the yardstick and with what bounds both, checks each run's
# rows, prints each goal with its bar, and writes target/bench/results.tsv and chart.svg. A wrong row fails it, a missed bar
# does not. Arguments:
#   --only ROW[,ROW]  1 mixed, 2 json, 4 lanes, 5 replay, 6 below, 7 fresh, 8 hot, 10 latency, 11 memory (all of these by
#                     default), 12 growth; number or name
#   --runs N          rounds, each with one run of each kind (5)
#   --events N        records of a topic (400000)
set -eu
cd "$(dirname "$0")/../.."
exec cargo bench --locked --quiet --bench load -- "$@"
