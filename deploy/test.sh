#!/usr/bin/env bash
# Installs packages, builds, and runs every test: what CI runs and what to run before a commit.
#
# deploy/test.sh [--stage NAME]... [--verbose]
#   --stage NAME   only this stage; may be repeated
#   --verbose      show the output of stages that pass, too
#
# Stages, each with a time budget in seconds on 2 cores without a warm compiler cache:
#   setup     120  packages
#   format     10  clang-format finds nothing to change
#   includes   10  includes point down, no file is too long; the checker sees planted mistakes
#   tidy      150  clang-tidy with .clang-tidy on the libraries
#   release   900  cpu-release: everything builds, all tests but the golden ones
#   golden     10  the ladder against transformers: logits, loss, gradients, ten losses
#   smoke      40  mpirun -n 2 blockstep train with the coordinator over gRPC, resumed once
#   mutants    80  three one-line breakages are seen by the tests that they name (tests/mutants)
#   asan      420  AddressSanitizer and UBSan over the libraries and the coordinator
#   tsan      350  ThreadSanitizer over the libraries and the coordinator
#   hosts     180  by name only, as root: two and three hosts (network namespaces), a cut link
# A stage over its budget is named; one over four times its budget, and over
# 20 minutes (it may have to build first), is ended. Logs: build/test-logs.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
self="$root/deploy/test.sh"
logs="$root/build/test-logs"
jobs=$(nproc)
stages=(setup format includes tidy release golden smoke mutants asan tsan)
by_name=(hosts)

sources() { git -C "$root" ls-files -z -- '*.h' '*.cc' '*.cu'; }

run_ctest() {  # run_ctest PRESET ARGS...
  local preset=$1
  shift
  (cd "$root/build/$preset" && ctest --output-on-failure --no-tests=error -j "$jobs" "$@")
}

stage_setup() { "$root/deploy/setup.sh" --packages-only; }

stage_format() { cd "$root" && sources | xargs -0 clang-format --dry-run -Werror; }

stage_includes() {
  "$root/deploy/check_includes.py" --self-test && "$root/deploy/check_includes.py" --root "$root"
}

stage_tidy() {
  cd "$root" && cmake --preset cpu-release -Wno-dev >/dev/null || return 1
  git ls-files -z -- 'core/*.cc' 'model/*.cc' 'optim/*.cc' 'dist/local/*.cc' |
    xargs -0 -n 4 -P "$jobs" clang-tidy --quiet -p build/cpu-release 2>&1 |
    grep -v 'warnings\? generated\.$'
  [[ ${PIPESTATUS[1]} -eq 0 ]]
}

stage_release() {
  "$root/deploy/setup.sh" --preset cpu-release --target all && run_ctest cpu-release -E golden
}

stage_golden() {
  "$root/deploy/setup.sh" --preset cpu-release --target all && run_ctest cpu-release -R golden
}

stage_smoke() {
  "$root/deploy/setup.sh" && source "$root/deploy/mpi_env.sh" && cd "$root" || return 1
  local folder train
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' RETURN
  train=(timeout -k 5 50 mpirun -n 2 build/cpu-release/bin/blockstep train
    --config deploy/quickstart.textproto --run "$folder/run" --set eval.slots=8
    --set optimizer.schedule.warmup_steps=1)
  "${train[@]}" --set train.steps=4 || return 1
  # The longer run is another schedule, said so on purpose.
  "${train[@]}" --set train.steps=6 --resume auto --resume-with-changed-maths || return 1
  build/cpu-release/bin/blockstep eval "$folder/run" deploy/data/c4_tiny/val.bin --tokens 128 --slots 8
}

# What the release stage compiled comes from the compiler cache; alone and without one it takes minutes.
stage_mutants() { "$root/tests/mutants/run.py" --ci --verbose; }

stage_hosts() {
  "$root/deploy/setup.sh" && BLOCKSTEP="$root/build/cpu-release/bin/blockstep" "$root/tests/hosts/several_hosts.py"
}

sanitized() {  # sanitized PRESET ARGS...: builds all and runs its tests
  "$root/deploy/setup.sh" --preset "$1" --target all && run_ctest "$@"
}

stage_asan() { sanitized cpu-asan; }

stage_tsan() {
  # gcc 12's runtime needs less address randomisation than newer kernels choose.
  local fixed=()
  if setarch "$(uname -m)" -R true 2>/dev/null; then fixed=(setarch "$(uname -m)" -R); fi
  "$root/deploy/setup.sh" --preset cpu-tsan --target all || return 1
  cd "$root/build/cpu-tsan" &&
    "${fixed[@]}" ctest --output-on-failure --no-tests=error -j "$jobs"
}

# The mutants' tree finds what the release stage compiled: paths below the root are taken as relative.
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root} CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR:-1}
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}

# Each stage is a process of its own, so that a time limit can end all of it.
if [[ ${1:-} == --body ]]; then
  "stage_$2"
  exit
fi

wanted=()
verbose=no
value() {  # value "$@": the option's, on the command line
  [[ -n ${2:-} && $2 != --* ]] || { echo "test.sh: $1: found no value; see --help" >&2; exit 2; }
}
while [[ $# -gt 0 ]]; do
  case "$1" in
    --help|-h) sed -n '2,23s/^# \{0,1\}//p' "$self"; exit 0 ;;
    --stage)
      value "$@"
      [[ " ${stages[*]} ${by_name[*]} " == *" $2 "* ]] || {
        echo "test.sh: found stage '$2', wanted one of: ${stages[*]} ${by_name[*]}" >&2
        exit 2
      }
      wanted+=("$2")
      shift 2
      ;;
    --verbose) verbose=yes; shift ;;
    *) echo "test.sh: found argument '$1'; see --help" >&2; exit 2 ;;
  esac
done
[[ ${#wanted[@]} -gt 0 ]] || wanted=("${stages[@]}")
exec </dev/null
mkdir -p "$logs"

budget_of() { sed -n "s/^#   $1  *\([0-9]*\) .*/\1/p" "$self"; }

table=
failed=()
began_all=$SECONDS
for stage in "${wanted[@]}"; do
  budget=$(budget_of "$stage")
  log="$logs/$stage.log"
  began=$SECONDS
  echo "== $stage"
  limit=$((budget > 300 ? 4 * budget : 1200))
  timeout -k 10 "$limit" "$self" --body "$stage" >"$log" 2>&1
  code=$?
  took=$((SECONDS - began))
  note=ok
  [[ $took -le $budget ]] || note="ok, over budget"
  if [[ $code -ne 0 ]]; then
    note="FAILED ($code)"
    [[ $code -ne 124 ]] || note="FAILED (ended after $limit s)"
    failed+=("$stage")
    tail -n 200 "$log"
  elif [[ $verbose == yes ]]; then
    cat "$log"
  else
    grep -E 'tests passed|mistakes|mutants killed' "$log" || true
  fi
  echo "== $stage: $note, $took s"
  table+=$(printf '%-9s %6s %6s  %s' "$stage" "$took" "$budget" "$note")$'\n'
done

printf '\n%-9s %6s %6s\n%s%-9s %6s\n\n' stage s budget "$table" all $((SECONDS - began_all))
# Last, what ctest says at its end.
for stage in "${wanted[@]}"; do
  grep -q 'tests passed' "$logs/$stage.log" || continue
  echo "ctest, stage $stage:"
  sed -n '/tests passed/,$p' "$logs/$stage.log"
done
[[ ${#failed[@]} -eq 0 ]] || { echo "test.sh: failed: ${failed[*]}" >&2; exit 1; }
