#!/bin/sh
# Installs what the build, the demo and the tests need on Debian or Ubuntu. Nothing missing: silent and fast.
# With the argument `tests` also what makes more of the tests real, if it can be had.
set -eu

# Each line: how to see that it is there | Debian package | what for
missing=''
need() {
    if ! eval "$1" >/dev/null 2>&1; then
        missing="$missing $2"
        echo "bootstrap: $2 is missing ($3)" >&2
    fi
}

# A PostgreSQL server of version 15 or newer: the same places as `silversink demo` looks in.
postgres_server() {
    if [ -n "${PG_BIN:-}" ]; then
        set -- "$PG_BIN/postgres"
    else
        set -- "$(pg_config --bindir 2>/dev/null || echo /nonexistent)/postgres" /usr/lib/postgresql/*/bin/postgres "$(command -v postgres || true)"
    fi
    for server; do
        if ! [ -x "$server" ] || ! [ -x "${server%/*}/initdb" ]; then continue; fi
        version=$("$server" --version | sed -n 's/.*PostgreSQL) \([0-9]*\).*/\1/p')
        if [ "${version:-0}" -ge 15 ]; then
            found=$server
            return 0
        fi
    done
    return 1
}

need 'command -v cc && command -v c++ && command -v make' build-essential 'compiles the Kafka client'
need 'command -v pkg-config' pkg-config 'finds OpenSSL'
need 'pkg-config --exists openssl || test -e /usr/include/openssl/ssl.h' libssl-dev 'TLS to Kafka, registry and PostgreSQL'
need 'test -e /usr/include/zlib.h' zlib1g-dev 'compression in the Kafka client'
need postgres_server postgresql 'a throw-away server for the demo and the tests'

if [ -n "$missing" ]; then
    install="apt-get install --yes --no-install-recommends$missing"
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "bootstrap: this is no Debian or Ubuntu; install the equivalents of:$missing" >&2
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "bootstrap: run this, then try again:" >&2
        echo "  sudo sh -c 'apt-get update && $install'" >&2
        exit 1
    fi
    echo "bootstrap: $install" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet=2
    $install --quiet=2 >&2
    if ! postgres_server; then
        echo 'bootstrap: the PostgreSQL of this distribution is older than 15; see https://www.postgresql.org/download/linux/debian/' >&2
        exit 1
    fi
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "bootstrap: Rust is missing; get it with: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2
    exit 1
fi

# PostGIS (170 MB): without it stand-ins play its types, and the tests say so.
[ "${1:-}" = tests ] || exit 0
postgres_server
[ -e "$("${found%/*}/pg_config" --sharedir 2>/dev/null || echo "/usr/share/postgresql/$version")/extension/postgis.control" ] && exit 0
install="apt-get install --yes --no-install-recommends postgresql-$version-postgis-3"
echo "bootstrap: postgresql-$version-postgis-3 is missing (geometry is tested against it)" >&2
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
    echo "bootstrap: going on without; this installs it: sudo $install" >&2
    exit 0
fi
echo "bootstrap: $install" >&2
export DEBIAN_FRONTEND=noninteractive
{ apt-get update --quiet=2 && $install --quiet=2; } >&2 || echo 'bootstrap: going on without PostGIS' >&2
