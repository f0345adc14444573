#!/usr/bin/env bash
# From a bare Debian 12 to a trained and evaluated model: installs packages, builds, trains a small Llama
# on 4 MPI ranks on the bundled text (deploy/data/c4_tiny), evaluates, and checks that it learned.
#
# deploy/quickstart.sh [--ranks N] [--run DIR] [--steps N]
#   --ranks N    MPI ranks (4)
#   --run DIR    folder of the run, which must not exist (runs/quickstart-1, -2, ...)
#   --steps N    optimizer steps (those of deploy/quickstart.textproto)
#
# May be run again: what is installed and built stays, the run is a new one.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
ranks=4
run=
extra=()
value() {  # value "$@": the option's, on the command line
  [[ -n ${2:-} && $2 != --* ]] || { echo "quickstart.sh: $1: expected a value, got none; see --help" >&2; exit 2; }
}
while [[ $# -gt 0 ]]; do
  case "$1" in
    --help|-h) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --ranks) value "$@"; ranks=$2; shift 2 ;;
    --run) value "$@"; run=$(realpath -m "$2"); shift 2 ;;
    --steps) value "$@"; extra+=(--set "train.steps=$2"); shift 2 ;;
    *) echo "quickstart.sh: unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
done
[[ $ranks =~ ^[1-9][0-9]*$ ]] || { echo "quickstart.sh: --ranks: expected a number > 0, got '$ranks'" >&2; exit 2; }
exec </dev/null

"$root/deploy/setup.sh"
source "$root/deploy/mpi_env.sh"
cd "$root"
blockstep=build/cpu-release/bin/blockstep
data=deploy/data/c4_tiny
if [[ -z $run ]]; then
  mkdir -p runs
  number=1
  while [[ -e runs/quickstart-$number ]]; do number=$((number + 1)); done
  run=runs/quickstart-$number
fi

# mpirun cannot be trusted to end by itself when a rank hangs.
timeout -k 10 900 mpirun -n "$ranks" "$blockstep" train --config deploy/quickstart.textproto \
  --run "$run" --tokenizer "$data/tokenizer.model" "${extra[@]}"
result=$("$blockstep" eval "$run" "$data/val.bin" --tokens 128 --json)

/usr/bin/python3 - "$run" "$result" <<'PYTHON'
import json, sys
run, result = sys.argv[1], json.loads(sys.argv[2])
with open(run + "/metrics.jsonl") as f:
    first = next(m["eval/perplexity"] for m in map(json.loads, f) if "eval/perplexity" in m)
final, unigram = result["perplexity"], result["unigram_perplexity"]
checks = [("validation perplexity before the first step / 2", first / 2),
          ("unigram perplexity of the validation tokens", unigram)]
print(f"\n{run}: validation perplexity {final:.1f} over {result['tokens']} tokens (before the first step {first:.1f})")
good = True
for name, bar in checks:
    good = good and final < bar
    print(f"  {'below' if final < bar else 'NOT BELOW'} {bar:8.1f}  {name}")
sys.exit(0 if good else 1)
PYTHON
