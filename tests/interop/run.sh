#!/usr/bin/env bash
# Runs every script here against a gateway: tests/interop/run.sh BINARY
#   SCREENSHOTS=DIR   where browser.js leaves its pictures
#   EXAMPLES=DIR      where the built examples of the core are, which are tried too
#   POMELO_LINES=FILE the program that prints what our codec makes of packages and messages, with the numbers of SEED (1)
#   SKIP="a b"        scripts to leave out, by name (pinus-check and pinus-connect need namespaces, browser needs Chromium)
# Prints PASS or FAIL and the name for each; ends with 1 if any failed. Installs what is missing and says so. Leaves no process behind.
set -euo pipefail

[[ $# -eq 1 ]] || { echo "usage: $0 BINARY" >&2; exit 2; }
binary=$(realpath "$1")
[[ -z ${EXAMPLES:-} ]] || EXAMPLES=$(realpath "$EXAMPLES")
[[ -z ${POMELO_LINES:-} ]] || POMELO_LINES=$(realpath "$POMELO_LINES")
cd "$(dirname "${BASH_SOURCE[0]}")"
[[ -x $binary ]] || { echo "$binary: no such program" >&2; exit 2; }
skip=" ${SKIP:-} "
work=$(mktemp -d)
servers=()
failed=0
python=.interop/python/bin/python

stop_servers() {
  local id
  for id in "${servers[@]}"; do kill -TERM "$id" 2>/dev/null || true; done
  for id in "${servers[@]}"; do
    for _ in $(seq 100); do
      kill -0 "$id" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$id" 2>/dev/null || true
    wait "$id" 2>/dev/null || true
  done
  servers=()
}
trap 'stop_servers; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

install_missing() {
  local node_major
  node_major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
  [[ $node_major -ge 20 ]] || { echo "Node 20 or later is needed" >&2; exit 2; }
  if ! npm ls --silent >/dev/null 2>&1; then
    echo "installing the clients (npm ci)"
    npm ci --silent
  fi
  if [[ $skip != *" chat-py "* && ! -x $python ]]; then
    echo "installing Python's websockets (pip, in .interop)"
    python3 -m venv .interop/python
    "$python" -m pip install --quiet --disable-pip-version-check websockets==15.0.1
  fi
  if [[ $skip != *" browser "* && ! -x ${CHROMIUM:-/usr/bin/chromium} ]]; then
    if [[ $(id -u) -ne 0 ]]; then
      echo "install Chromium, name it in CHROMIUM, or set SKIP=browser" >&2
      exit 2
    fi
    echo "installing Chromium (apt-get)"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >"$work/apt" 2>&1
  fi
}

# start NAME FLAG…: starts a server; its addresses are in $work/NAME.
start() {
  local name=$1
  shift
  "$binary" serve --demo-services "$@" >"$work/$name" 2>"$work/$name.log" &
  servers+=($!)
}

# listening NAME LISTENER: prints the address.
listening() {
  local address
  for _ in $(seq 100); do
    address=$(sed -n "s/^listening $2 //p" "$work/$1")
    if [[ -n $address ]]; then
      echo "$address"
      return
    fi
    sleep 0.1
  done
  echo "no line «listening $2»:" >&2
  cat "$work/$1" "$work/$1.log" >&2
  return 1
}

# check NAME COMMAND…: one line for one script, and its output if it failed.
check() {
  local name=$1
  shift
  if [[ $skip == *" $name "* ]]; then
    echo "SKIP $name"
  elif timeout --kill-after=5 150 "$@" >"$work/out" 2>&1; then
    echo "PASS $name"
  else
    failed=1
    echo "FAIL $name"
    tail -n 25 "$work/out" | sed 's/^/     /'
  fi
}

install_missing
# What only a gateway has.
more=(--chat --im 127.0.0.1:0 --im-token none --im-policy 1)
[[ $(basename "$binary") != fake-server.js ]] || more=()
start main --pomelo-ws 127.0.0.1:0 --pomelo-tcp 127.0.0.1:0 --http 127.0.0.1:0 "${more[@]}"
start dictionary --pomelo-ws 127.0.0.1:0 --dictionary Echo.Raw,Echo.JSON,onEcho,room.join,onMessage
if [[ ${#more[@]} -gt 0 ]]; then
  start im --im 127.0.0.1:0 --im-token static:im-tokens.txt
  start im-strict --im 127.0.0.1:0 --im-token static:im-tokens.txt --im-policy 1
fi
ws=$(listening main pomelo-ws)
tcp=$(listening main pomelo-tcp)
http=$(listening main http)
coded=$(listening dictionary pomelo-ws)

run=(node --no-deprecation)
lenient=()
[[ $(basename "$binary") != fake-server.js ]] || lenient=(--lenient)

"${run[@]}" pinus-oracle.js >"$work/encodings"
check pinus-oracle "${run[@]}" pinus-oracle.js --check "$work/encodings"
if [[ -n ${POMELO_LINES:-} ]]; then
  "$POMELO_LINES" "${SEED:-1}" >"$work/lines"
  check pinus-differential "${run[@]}" pinus-differential.js "$work/lines"
  # How many were compared.
  tail -n 1 "$work/out"
fi
check linkspan-unit "${run[@]}" linkspan-unit.js
check jsclient "${run[@]}" jsclient.js "$ws"
check pinus-robot "${run[@]}" pinus-robot.js "$ws"
check pomelo-client "${run[@]}" pomelo-client.js "$ws"
check linkspan-js "${run[@]}" linkspan-js.js "$ws"
check raw-ws "${run[@]}" raw-ws.js "$ws" "${lenient[@]}"
check raw-tcp "${run[@]}" raw-tcp.js "$tcp"
check dictionary "${run[@]}" dictionary.js "$coded"
if [[ ${#more[@]} -gt 0 ]]; then
  check im "${run[@]}" im.js "$(listening im im)" "$(listening im-strict im)"
  check chat-ws "${run[@]}" chat-ws.js "$http"
  check chat-py "$python" chat.py "$http"
fi
if [[ -n ${EXAMPLES:-} ]]; then
  addresses=()
  for example in blocking readiness blocking_chat; do
    "$EXAMPLES/$example" 127.0.0.1:0 >"$work/$example" 2>"$work/$example.log" &
    servers+=($!)
    addresses+=("$(listening "$example" '[a-z-]*')")
  done
  check examples "${run[@]}" examples.js "${addresses[@]}"
fi
check browser "${run[@]}" browser.js "$http" ${SCREENSHOTS:+"$SCREENSHOTS"}
check pinus-check pinus-server/with-pinus.sh "${run[@]}" pinus-check.js
[[ ${#lenient[@]} -gt 0 ]] || check pinus-connect pinus-server/with-pinus.sh "${run[@]}" pinus-connect.js "$binary"

for id in "${servers[@]}"; do
  kill -0 "$id" 2>/dev/null || { failed=1; echo "FAIL a server ended by itself"; tail -n 25 "$work"/*.log; }
done
stop_servers
exit "$failed"
