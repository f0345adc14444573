#!/bin/bash
# Blockstep beside the newest PyTorch on the same model, batch and precision, in alternating rounds;
# prints medians over rounds, ratios, and the time by part of one step. Never a pass/fail test.
#   tests/bench/compare.sh BUILD_DIR [--rounds 3] [--steps 4] [--preset 60m] [--threads 2]
#                          [--policies "full badam"]
# TORCH_PYTHON: a Python that has PyTorch; else one is installed from PyPI into BUILD_DIR/torch-venv.
# With libtcmalloc installed, PyTorch is measured as installed and, compiled, over tcmalloc too.
set -euo pipefail

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0"; }
here=$(cd "$(dirname "$0")" && pwd)
rounds=3 steps=4 preset=60m threads=2 policies="full badam" build=""
value() {  # value "$@": the option's, on the command line
  [[ -n ${2:-} && $2 != --* ]] || { echo "compare.sh: $1: expected a value, got none; see --help" >&2; exit 2; }
}
while [ $# -gt 0 ]; do
  case "$1" in
    --help) usage; exit 0 ;;
    --rounds) value "$@"; rounds=$2; shift 2 ;;
    --steps) value "$@"; steps=$2; shift 2 ;;
    --preset) value "$@"; preset=$2; shift 2 ;;
    --threads) value "$@"; threads=$2; shift 2 ;;
    --policies) value "$@"; policies=$2; shift 2 ;;
    -*) echo "compare.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
    *) build=$1; shift ;;
  esac
done
if [ ! -x "$build/tests/bench/step_bench" ]; then
  echo "compare.sh: '$build' has no tests/bench/step_bench; build that target first" >&2
  exit 2
fi

python=${TORCH_PYTHON:-$build/torch-venv/bin/python}
if ! "$python" -c 'import torch' 2>/dev/null; then
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    echo "compare.sh: Python here makes no virtual environments; install python3-venv," \
      "or set TORCH_PYTHON to a Python that has PyTorch" >&2
    exit 2
  fi
  python3 -m venv "$build/torch-venv"
  "$build/torch-venv/bin/pip" install --quiet torch
  python=$build/torch-venv/bin/python
fi
tcmalloc=$(ldconfig -p | awk '/libtcmalloc_minimal.so/ {print $NF; exit}')

lines=$(mktemp) errors=$(mktemp) line=$(mktemp)
trap 'rm -f "$lines" "$errors" "$line"' EXIT
run() {  # label command...
  local label=$1
  shift
  echo "  $label" >&2
  if ! "$@" >"$line" 2>"$errors"; then
    echo "compare.sh: failed: $*" >&2
    tail -n 20 "$errors" >&2
    exit 1
  fi
  tail -n 1 "$line" | sed "s|^{|{\"label\":\"$label\",|" >>"$lines"
}
for policy in $policies; do
  common=(--preset "$preset" --policy "$policy" --threads "$threads" --steps "$steps")
  for round in $(seq "$rounds"); do
    echo "$policy, round $round of $rounds, load $(cut -d' ' -f1 /proc/loadavg)" >&2
    run blockstep "$build/tests/bench/step_bench" "${common[@]}" --json
    run "torch eager" "$python" "$here/torch_peer.py" "${common[@]}"
    run blockstep "$build/tests/bench/step_bench" "${common[@]}" --json
    run "torch compiled" "$python" "$here/torch_peer.py" "${common[@]}" --compile
    if [ -n "$tcmalloc" ]; then
      run "torch compiled, tcmalloc" env LD_PRELOAD="$tcmalloc" \
        "$python" "$here/torch_peer.py" "${common[@]}" --compile
    fi
  done
done
"$python" "$here/compare_table.py" "$lines"
