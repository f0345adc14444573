#!/usr/bin/env bash
# Installs packages, builds, and runs every test: what CI runs and what to run before a commit.
#
# deploy/test.sh [--stage NAME]... [--verbose]
#   --stage NAME   only this stage; may be repeated
#   --verbose      show the output of stages that pass, too
#
# Stages, each with a time budget in seconds on 2 cores without a warm compiler cache (45 minutes in all):
#   setup     110  packages
#   format     20  clang-format finds nothing to change
#   includes   10  includes point down, no file is too long; the checker sees planted mistakes
#   tidy      140  clang-tidy with .clang-tidy on the libraries
#   release   990  cpu-release: everything builds, all tests but the golden ones
#   golden     20  the ladder against transformers: logits, loss, gradients, ten losses
#   smoke      50  mpirun -n 2 blockstep train with the coordinator over gRPC, resumed once
#   mutants   120  three one-line breakages are seen by the tests that they name (tests/mutants)
#   asan      700  AddressSanitizer and UBSan over the libraries and the coordinator
#   tsan      540  ThreadSanitizer over the libraries and the coordinator
# Only by name:
#   bare     6000  as root: a bare Debian 12 (mmdebstrap), in it quickstart.sh and test.sh from a clone of HEAD
#   hosts     180  as root: two and three hosts (network namespaces), a cut link
#   quickstart 400 deploy/quickstart.sh with its own check that the model learned
#   transformers 600 checkpoints and exports loaded by the real `transformers` (installed from PyPI)
#   mutants-all 3600 every breakage of tests/mutants/mutants.toml is seen by the test that it names
#   slow     7000  test stages at a quarter of the speed; tests that wait, time or kill beside busy loops
# A stage over its budget is named; one over four times its budget, and over 20 minutes (it may have to build
# first), is ended. Ctrl-C, SIGTERM and SIGHUP end the stage under way with all it started. Logs: build/test-logs.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
self="$root/deploy/test.sh"
logs=${BLOCKSTEP_TEST_LOGS:-"$root/build/test-logs"}
jobs=$(nproc)
stages=(setup format includes tidy release golden smoke mutants asan tsan)
by_name=(bare hosts quickstart transformers mutants-all slow)

sources() { git -C "$root" ls-files -z -- '*.h' '*.cc' '*.cu'; }

run_ctest() {  # run_ctest PRESET ARGS...
  local preset=$1
  shift
  local report=$logs/${stage_name}.$preset.xml
  # The whole output of each test goes into the report: deploy/test_report.py finds skipped cases in it.
  (cd "$root/build/$preset" && "${no_aslr[@]}" ctest --output-on-failure --no-tests=error -j "$jobs" \
    --output-junit "$report" --test-output-size-passed 4194304 --test-output-size-failed 4194304 "$@")
}
no_aslr=()

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
  train=(timeout -k 5 300 mpirun -n 2 build/cpu-release/bin/blockstep train
    --config deploy/quickstart.textproto --run "$folder/run" --set eval.slots=8
    --set optimizer.schedule.warmup_steps=1)
  "${train[@]}" --set train.steps=4 || return 1
  # The longer run is another schedule, said so on purpose.
  "${train[@]}" --set train.steps=6 --resume auto --allow-config-change || return 1
  build/cpu-release/bin/blockstep eval "$folder/run" deploy/data/c4_tiny/val.bin --tokens 128 --slots 8
}

# What the release stage compiled comes from the compiler cache; alone and without one it takes minutes.
stage_mutants() { "$root/tests/mutants/run.py" --ci --verbose; }

stage_mutants-all() { "$root/tests/mutants/run.py" --all --verbose; }

stage_bare() { "$root/deploy/bare.sh"; }

stage_hosts() {
  "$root/deploy/setup.sh" --stage hosts --target blockstep --target fault_shim || return 1
  BLOCKSTEP="$root/build/cpu-release/bin/blockstep" FAULT_SHIM="$root/build/cpu-release/tests/e2e/libfault_shim.so" \
    "$root/tests/hosts/several_hosts.py"
}

stage_quickstart() {
  local folder code
  folder=$(mktemp -d)
  "$root/deploy/quickstart.sh" --run "$folder/run"
  code=$?
  rm -rf "$folder"
  return $code
}

stage_transformers() { "$root/tests/golden/real_transformers.sh"; }

# Built at full speed first; the mutants' tree compiles in its own stage.
stage_slow() {
  local preset
  for preset in cpu-release cpu-asan cpu-tsan; do
    "$root/deploy/setup.sh" --preset "$preset" --target all || return 1
  done
  "$self" --stage mutants || return 1
  "$root/tests/slow/slow.py" --build "$root/build/cpu-release" --mode busy || return 1
  "$root/tests/slow/slow.py" --stage release --stage golden --stage smoke --stage mutants --stage asan --stage tsan
}

sanitized() {  # sanitized PRESET ARGS...: builds all and runs its tests
  "$root/deploy/setup.sh" --preset "$1" --target all && run_ctest "$@"
}

stage_asan() { sanitized cpu-asan; }

stage_tsan() {
  # gcc 12's runtime needs less address randomisation than newer kernels choose.
  if setarch "$(uname -m)" -R true 2>/dev/null; then no_aslr=(setarch "$(uname -m)" -R); fi
  sanitized cpu-tsan
}

# The mutants' tree finds what the release stage compiled: paths below the root are taken as relative.
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root} CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR:-1}
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}

# Each stage is a process of its own, so that a time limit can end all of it.
if [[ ${1:-} == --body ]]; then
  stage_name=$2
  "stage_$2"
  exit
fi

wanted=()
verbose=no
value() {  # value "$@": the option's, on the command line
  [[ -n ${2:-} && $2 != --* ]] || { echo "test.sh: $1: expected a value, got none; see --help" >&2; exit 2; }
}
while [[ $# -gt 0 ]]; do
  case "$1" in
    --help|-h) sed -n '2,31s/^# \{0,1\}//p' "$self"; exit 0 ;;
    --stage)
      value "$@"
      [[ " ${stages[*]} ${by_name[*]} " == *" $2 "* ]] || {
        echo "test.sh: --stage: expected one of ${stages[*]} ${by_name[*]}, got '$2'" >&2
        exit 2
      }
      wanted+=("$2")
      shift 2
      ;;
    --verbose) verbose=yes; shift ;;
    *) echo "test.sh: unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
done
[[ ${#wanted[@]} -gt 0 ]] || wanted=("${stages[@]}")
exec </dev/null
mkdir -p "$logs"

budget_of() { sed -n "s/^#   $1  *\([0-9]*\) .*/\1/p" "$self"; }

# What a stage starts may leave its process group and its session (mpirun, `timeout`, tests that kill whole
# sessions); the environment says whose it is. A stage inside a stage carries both names.
processes_of() {  # processes_of STAGE_ID
  grep -lzsE "^BLOCKSTEP_STAGE=(.*/)?$1(/|\$)" /proc/[0-9]*/environ | cut -d/ -f3
}

end_processes() {  # end_processes STAGE_ID: SIGTERM, and SIGKILL for what is there 5 s later, until none is left
  local pids began=$SECONDS signal=TERM
  while ((SECONDS - began < 60)); do
    mapfile -t pids < <(processes_of "$1")
    [[ ${#pids[@]} -gt 0 ]] || return 0
    ((SECONDS - began < 5)) || signal=KILL
    kill -"$signal" "${pids[@]}" 2>/dev/null
    sleep 0.5
  done
  echo "test.sh: still there after SIGKILL: ${pids[*]}" >&2
}

stage_id=
interrupted() {  # interrupted SIGNAL NUMBER
  trap '' INT TERM HUP
  [[ -z $stage_id ]] || end_processes "$stage_id"
  echo "test.sh: ended by SIG$1${stage_id:+ in stage $stage}; what it had started is ended, too" >&2
  exit $((128 + $2))
}
trap 'interrupted INT 2' INT
trap 'interrupted TERM 15' TERM
trap 'interrupted HUP 1' HUP

table=
failed=()
began_all=$SECONDS
for stage in "${wanted[@]}"; do
  budget=$(budget_of "$stage")
  log="$logs/$stage.log"
  rm -f "$logs/$stage".*.xml
  began=$SECONDS
  echo "== $stage"
  limit=$((budget > 300 ? 4 * budget : 1200))
  stage_id=$$-$stage
  # In the background, so that a signal to this script is not kept waiting; bash would have the stage ignore
  # Ctrl-C for good.
  BLOCKSTEP_STAGE="${BLOCKSTEP_STAGE:-}/$stage_id" env --default-signal=INT,QUIT \
    timeout -k 10 "$limit" "$self" --body "$stage" >"$log" 2>&1 &
  wait $!
  code=$?
  [[ $code -eq 0 ]] || end_processes "$stage_id"
  stage_id=
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
  table+=$(printf '%-12s %6s %6s  %s' "$stage" "$took" "$budget" "$note")$'\n'
done

printf '\n%-12s %6s %6s\n%s%-12s %6s\n\n' stage s budget "$table" all $((SECONDS - began_all))
for stage in "${wanted[@]}"; do
  for report in "$logs/$stage".*.xml; do
    [[ ! -f $report ]] || "$root/deploy/test_report.py" "$stage" "$report" || failed+=("$stage")
  done
done
for stage in "${stages[@]}" "${by_name[@]}"; do
  [[ " ${wanted[*]} " == *" $stage "* ]] ||
    echo "not run: stage $stage: $(sed -n "s/^#   $stage  *[0-9]* *//p" "$self"); deploy/test.sh --stage $stage"
done
[[ ${#failed[@]} -eq 0 ]] || { echo "test.sh: failed: ${failed[*]}" >&2; exit 1; }
