#!/usr/bin/env bash
# Stops what up.sh started, by recorded pid: down.sh [--reset]. --reset wipes all data too, never what was fetched.
set -euo pipefail
. "$(dirname "$0")/env.sh"
case ${1:-} in
"" | --reset) ;;
*) die "usage: down.sh [--reset]" ;;
esac

stop_java() { # NAME
  local pid
  if ! alive "$1"; then rm -f "$RUN/$1.pid"; return; fi
  pid=$(pid_of "$1")
  kill "$pid"
  for _ in $(seq 150); do
    alive "$1" || break
    sleep 0.2
  done
  if alive "$1"; then
    say "$1 ($pid) did not stop in 30 s: killed"
    kill -9 "$pid"
  fi
  rm -f "$RUN/$1.pid"
  say "$1 stopped"
}
stop_postgres() { # NAME
  if alive "$1"; then
    as_pg "$(pg_bin)/pg_ctl" -D "$DATA/$1" -m fast -w -t 60 stop >/dev/null || die "$1 did not stop, see $LOGS/$1.log"
    say "$1 stopped"
  fi
  rm -f "$RUN/$1.pid"
}
# Connect first, so that nothing loses its partner while it still works.
stop_java connect
stop_java registry
stop_java kafka
stop_postgres source
stop_postgres destination
if [ "${1:-}" = --reset ]; then
  rm -rf "${DATA:?}" "${LOGS:?}"
  say "data wiped"
fi
