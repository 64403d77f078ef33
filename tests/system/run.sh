#!/usr/bin/env bash
# The system test: builds the release binary (or takes SILVERSINK_BIN), brings the stack up and drives the scenario.
# Arguments go to system_test.py: --seed N repeats a workload, --keep leaves databases and topics for inspection.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../stack/env.sh"
if [ -z "${SILVERSINK_BIN:-}" ]; then
  cd "$here/../.."
  cargo build --release --bin silversink
  SILVERSINK_BIN=$(realpath "${CARGO_TARGET_DIR:-target}/release/silversink")
fi
[ -x "$SILVERSINK_BIN" ] || die "SILVERSINK_BIN=$SILVERSINK_BIN is not a program"
"$STACK_HOME/up.sh" >/dev/null
export SILVERSINK_BIN STACK_HOME STACK_SOURCE_PORT STACK_DESTINATION_PORT STACK_BOOTSTRAP STACK_REGISTRY_URL STACK_CONNECT_URL LOGS
exec python3 -B -u "$here/system_test.py" "$@"
