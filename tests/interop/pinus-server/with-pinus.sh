#!/usr/bin/env bash
# Runs a command beside a real pinus gateway, in namespaces of their own where only loopback exists:
#   with-pinus.sh COMMAND [ARGUMENT…]        PINUS_ADDRESS=127.0.0.1:26910 is in the command's environment
# pinus listens on all interfaces, hence the network namespace; it leaves a child behind, hence the process namespace, which ends both.
# Needs root or unprivileged user namespaces, and `ip` (iproute2).
set -euo pipefail

if [[ ${1:-} == --inside ]]; then
  shift
  ip link set lo up
  cd "$(dirname "$0")"
  export PINUS_ADDRESS=127.0.0.1:26910
  log=$(mktemp)
  NODE_NO_WARNINGS=1 node app.js >"$log" 2>&1 &
  for _ in $(seq 150); do
    if (exec 3<>"/dev/tcp/${PINUS_ADDRESS/:/\/}") 2>/dev/null; then
      cd "$OLDPWD"
      status=0
      timeout 120 "$@" || status=$?
      rm -f "$log"
      exit "$status"
    fi
    sleep 0.1
  done
  echo "pinus did not start:" >&2
  cat "$log" >&2
  rm -f "$log"
  exit 1
fi

[[ $# -gt 0 ]] || { echo "usage: $0 COMMAND [ARGUMENT…]" >&2; exit 2; }
own=(--net --pid --fork --kill-child --mount-proc)
[[ $(id -u) -eq 0 ]] || own+=(--map-root-user)
unshare "${own[@]}" "$BASH" "$(realpath "$0")" --inside "$@"
