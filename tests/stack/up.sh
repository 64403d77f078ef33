#!/usr/bin/env bash
# Brings the stack up: two PostgreSQL servers, Kafka (KRaft), a schema registry, Kafka Connect with Debezium. Parts that run
# already are left alone, so it can be called at any time. Ends with the addresses on standard output.
set -euo pipefail
. "$(dirname "$0")/env.sh"
"$STACK_HOME/fetch.sh"
mkdir -p "$DATA" "$RUN" "$LOGS"
chmod 755 "$DATA" "$RUN" "$LOGS"
PG_BIN=$(pg_bin)

port_free() { # NAME PORT: a clear line instead of a stack trace in a log
  ! (exec 3<> "/dev/tcp/127.0.0.1/$2") 2>/dev/null || die "port $2 is taken by another process, $1 cannot start: see the STACK_*_PORT settings in env.sh"
}
launch() { # NAME COMMAND...: in a session of its own, so that it outlives the calling shell
  local name=$1
  shift
  setsid nohup "$@" > "$LOGS/$name.log" 2>&1 < /dev/null &
  record "$name" $!
}
wait_for() { # NAME SECONDS CHECK...
  local name=$1 limit=$2 begun=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    alive "$name" || { tail -20 "$LOGS/$name.log" >&2; die "$name died, see $LOGS/$name.log"; }
    [ $((SECONDS - begun)) -lt "$limit" ] || { tail -20 "$LOGS/$name.log" >&2; die "$name is not healthy after $limit s, see $LOGS/$name.log"; }
    sleep 0.2
  done
  say "$name is up"
}

postgres_up() { # NAME PORT CONFIGURATION
  local dir=$DATA/$1 admin=postgresql://postgres@127.0.0.1:$2
  if [ ! -f "$dir/PG_VERSION" ]; then
    mkdir -p "$dir"
    if [ "$(id -u)" = 0 ]; then chown "$STACK_PG_USER" "$dir"; fi
    chmod 700 "$dir"
    as_pg "$PG_BIN/initdb" -D "$dir" -U postgres -A trust -E UTF8 --locale=C.UTF-8 > "$LOGS/$1-initdb.log" 2>&1 \
      || { tail -5 "$LOGS/$1-initdb.log" >&2; die "initdb failed for $1"; }
  fi
  if ! as_pg "$PG_BIN/pg_ctl" -D "$dir" status >/dev/null 2>&1; then
    port_free "$1" "$2"
    # written anew at each start: settings follow this script, not the day of initdb
    printf '%s\n' "port=$2" "listen_addresses='127.0.0.1'" "unix_socket_directories=''" "timezone='UTC'" "log_min_messages=warning" \
      "log_line_prefix='%m %p '" "max_connections=100" "$3" | as_pg tee "$dir/postgresql.auto.conf" >/dev/null
    touch "$LOGS/$1.log"
    if [ "$(id -u)" = 0 ]; then chown "$STACK_PG_USER" "$LOGS/$1.log"; fi
    as_pg "$PG_BIN/pg_ctl" -D "$dir" -w -t 60 -l "$LOGS/$1.log" start >/dev/null || { tail -5 "$LOGS/$1.log" >&2; die "$1 did not start, see $LOGS/$1.log"; }
  fi
  record "$1" "$(as_pg head -1 "$dir/postmaster.pid")"
  if ! psql -qAtX "$admin/stack" -c 'select 1' >/dev/null 2>&1; then
    psql -qX "$admin/postgres" -v ON_ERROR_STOP=1 -c "create role stack superuser login replication password 'stack'" -c 'create database stack owner stack'
  fi
  say "$1 is up"
}

# Kafka and the registry start side by side, PostgreSQL meanwhile.
if ! alive kafka; then
  port_free kafka "$STACK_KAFKA_PORT"
  port_free kafka "$STACK_KAFKA_CONTROLLER_PORT"
  cat > "$DATA/kafka.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$STACK_KAFKA_CONTROLLER_PORT
listeners=PLAINTEXT://127.0.0.1:$STACK_KAFKA_PORT,CONTROLLER://127.0.0.1:$STACK_KAFKA_CONTROLLER_PORT
advertised.listeners=PLAINTEXT://127.0.0.1:$STACK_KAFKA_PORT,CONTROLLER://127.0.0.1:$STACK_KAFKA_CONTROLLER_PORT
controller.listener.names=CONTROLLER
log.dirs=$DATA/kafka
auto.create.topics.enable=true
num.partitions=1
log.retention.hours=-1
# one node: every internal topic has one replica
offsets.topic.num.partitions=5
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=$STACK_JOIN_DELAY_MS
P
  if [ ! -f "$DATA/kafka/meta.properties" ]; then
    id=$(kafka_tool kafka.tools.StorageTool random-uuid)
    kafka_tool kafka.tools.StorageTool format --standalone -t "$id" -c "$DATA/kafka.properties" > "$LOGS/kafka-format.log" 2>&1 \
      || { tail -5 "$LOGS/kafka-format.log" >&2; die "could not format $DATA/kafka"; }
  fi
  launch kafka "$STACK_JAVA" -Xms256m -Xmx768m -XX:+UseG1GC -Dlog4j2.configurationFile="$STACK_HOME/log4j2.xml" -cp "$LIBS/*" \
    kafka.Kafka "$DATA/kafka.properties"
fi
if ! alive registry; then
  port_free registry "$STACK_REGISTRY_PORT"
  port_free registry "$STACK_REGISTRY_MANAGEMENT_PORT"
  mkdir -p "$DATA/registry" # H2 in a file: schema ids survive a restart, as the topics do
  launch registry env QUARKUS_HTTP_HOST=127.0.0.1 QUARKUS_HTTP_PORT="$STACK_REGISTRY_PORT" \
    QUARKUS_MANAGEMENT_HOST=127.0.0.1 QUARKUS_MANAGEMENT_PORT="$STACK_REGISTRY_MANAGEMENT_PORT" \
    APICURIO_STORAGE_KIND=sql APICURIO_STORAGE_SQL_KIND=h2 APICURIO_DATASOURCE_URL="jdbc:h2:file:$DATA/registry/h2" \
    "$STACK_JAVA" -Xms64m -Xmx384m -XX:+UseSerialGC -Djava.util.logging.manager=org.jboss.logmanager.LogManager -jar "$APICURIO/quarkus-run.jar"
fi
postgres_up source "$STACK_SOURCE_PORT" "wal_level=logical
max_wal_senders=20
max_replication_slots=20
shared_buffers=128MB"
postgres_up destination "$STACK_DESTINATION_PORT" "shared_buffers=256MB
max_wal_size=4GB"

wait_for kafka 60 grep -q 'Kafka Server started' "$LOGS/kafka.log"
if ! alive connect; then
  port_free connect "$STACK_CONNECT_PORT"
  cat > "$DATA/connect.properties" <<P
bootstrap.servers=$STACK_BOOTSTRAP
group.id=stack-connect
listeners=http://127.0.0.1:$STACK_CONNECT_PORT
plugin.path=$PLUGINS
plugin.discovery=service_load
config.storage.topic=_connect_configs
config.storage.replication.factor=1
offset.storage.topic=_connect_offsets
offset.storage.replication.factor=1
offset.storage.partitions=1
status.storage.topic=_connect_status
status.storage.replication.factor=1
status.storage.partitions=1
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
connector.client.config.override.policy=All
P
  # shellcheck disable=SC2086 # several options
  launch connect "$STACK_JAVA" $STACK_CONNECT_JVM -Dlog4j2.configurationFile="$STACK_HOME/log4j2.xml" -cp "$LIBS/*" \
    org.apache.kafka.connect.cli.ConnectDistributed "$DATA/connect.properties"
fi
wait_for registry 120 curl -fsS "$STACK_REGISTRY_URL/subjects"
wait_for connect 120 curl -fsS "$STACK_CONNECT_URL/connectors"
cat <<P
source       $STACK_SOURCE_URL
destination  $STACK_DESTINATION_URL
kafka        $STACK_BOOTSTRAP
registry     $STACK_REGISTRY_URL
connect      $STACK_CONNECT_URL
logs         $LOGS
all up after $SECONDS s
P
