#!/usr/bin/env bash
# The benchmark against Debezium's JDBC sink: brings up a stack of its own beside the usual one (real Kafka, Connect, registry),
# runs the peer and the release binary in turns, prints one table, stops the stack and wipes its data.
# Arguments: --events N, --runs N, --only tasks1|tasks2|defaults
set -euo pipefail
cd "$(dirname "$0")/../.."
export STACK_INSTANCE=peer STACK_JDBC_SINK=1
export STACK_SOURCE_PORT=19532 STACK_DESTINATION_PORT=19533 STACK_KAFKA_PORT=19192 STACK_KAFKA_CONTROLLER_PORT=19193
export STACK_REGISTRY_PORT=19181 STACK_REGISTRY_MANAGEMENT_PORT=19182 STACK_CONNECT_PORT=19183
# Two workers that start together share the partitions at once.
export STACK_JOIN_DELAY_MS=1000
# What Kafka's own connect-distributed.sh starts Connect with.
export STACK_CONNECT_JVM=${STACK_CONNECT_JVM:--server -Xms256M -Xmx2G -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent}
. tests/stack/env.sh
cargo bench --locked --quiet --bench peer --no-run
trap 'tests/stack/down.sh' EXIT
tests/stack/up.sh >&2
export STACK_BOOTSTRAP STACK_REGISTRY_URL STACK_CONNECT_URL
STACK_CONNECT_PID=$(pid_of connect)
export STACK_CONNECT_PID
cargo bench --locked --quiet --bench peer -- "$@"
trap - EXIT
tests/stack/down.sh --reset
