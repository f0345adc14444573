#!/usr/bin/env bash
# Stage `transformers` of deploy/test.sh: what blockstep trains and exports, loaded by the real `transformers`.
#
# tests/golden/real_transformers.sh
#
# Versions are those of VERSIONS.txt, from PyPI, in build/transformers-venv; BLOCKSTEP_PYTHON names a Python that has
# torch, transformers and safetensors already.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
python=${BLOCKSTEP_PYTHON:-}
if [[ -z $python ]]; then
  venv=$root/build/transformers-venv
  python=$venv/bin/python
  if [[ ! -f $venv/complete ]]; then
    "$root/deploy/setup.sh" --stage transformers --packages-only
    rm -rf "$venv"
    /usr/bin/python3 -m venv "$venv"
    mapfile -t wanted < <(sed 's/ /==/; s/+.*//' "$root/tests/golden/VERSIONS.txt")
    "$python" -m pip install --quiet "${wanted[@]}" safetensors numpy
    touch "$venv/complete"
  fi
fi
"$root/deploy/setup.sh"
source "$root/deploy/mpi_env.sh"
BLOCKSTEP=$root/build/cpu-release/bin/blockstep FAULT_SHIM='' exec "$python" "$root/tests/golden/real_transformers.py"
