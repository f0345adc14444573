#!/usr/bin/env python3
"""Tests at a quarter of this machine's speed and beside busy loops: none may depend on how fast the machine is.

tests/slow/slow.py --build DIR [--mode quarter|busy]... [-R REGEX]
tests/slow/slow.py --stage NAME...
  --build DIR    a build with every test (build/cpu-release); its tests that sleep, time or kill run one at a time
  --mode MODE    quarter: the CPU quota of a control group is a quarter of the cores (as root; else, or where there is
                 no such group, one core shared with three busy loops); busy: beside two busy loops per core
  -R REGEX       names of ctest entries (`.`: all), instead of those that sleep, time or kill
  --stage NAME   a whole stage of deploy/test.sh at a quarter of the speed (build first); may be repeated

Logs: DIR/../test-logs; of stages, build/test-logs/quarter. Exit code 0: all passed in every mode.
"""
import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

TESTS = (r"^(.*_cli_test|overlap_test|overlap_trace_test|local_communicator_test|unit_store_test|"
         r"mpi_.*_test.*|coordinator_test|coordinator_log_test|coordinator_http_test|watchdog_test|run_folder_test|"
         r"background_save_test|background_crash_test|checkpoint_crash_test|save_pieces_test|verify_cases_test|"
         r"core_test|signal_test|text_writer_test|input_digests_test|memory_limit_test|plan_equals_reality|"
         r"verify_pairwise)$")
PERIOD_US = 20000
SPIN = "while True: pass"


@contextlib.contextmanager
def quota():
    """A control group with a quarter of the cores: its cgroup.procs; None where there is none to be had."""
    v1, v2 = "/sys/fs/cgroup/cpu", "/sys/fs/cgroup"
    budget = os.cpu_count() * PERIOD_US // 4
    settings = {v1: {"cpu.cfs_period_us": PERIOD_US, "cpu.cfs_quota_us": budget},
                v2: {"cpu.max": f"{budget} {PERIOD_US}"}}
    place = None
    for above, files in settings.items():
        group = os.path.join(above, f"blockstep-slow-{os.getpid()}")
        try:
            os.mkdir(group)
            place = group
            for name, value in files.items():
                # Not created: where the controller is off, the file is not there.
                with open(os.open(os.path.join(group, name), os.O_WRONLY), "w") as f:
                    f.write(str(value))
            break
        except OSError:
            if place:
                os.rmdir(place)
                place = None
    try:
        yield place and os.path.join(place, "cgroup.procs")
    finally:
        if place:
            with open(os.path.join(place, "cgroup.procs")) as f:
                for pid in f.read().split():
                    os.kill(int(pid), signal.SIGKILL)
            for _ in range(100):
                with contextlib.suppress(OSError):
                    os.rmdir(place)
                    break
                time.sleep(0.1)


@contextlib.contextmanager
def busy_loops(count, core=None):
    loops = [subprocess.Popen([sys.executable, "-c", SPIN], preexec_fn=lambda: core is None or
                              os.sched_setaffinity(0, {core})) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def run(test, log, prepare):
    """Whether a ctest entry passes, and its seconds."""
    properties = {p["name"]: p["value"] for p in test.get("properties", [])}
    env = dict(os.environ, **dict(e.split("=", 1) for e in properties.get("ENVIRONMENT", [])))
    began = time.monotonic()
    with open(log, "w") as out:
        process = subprocess.Popen(test["command"], cwd=properties.get("WORKING_DIRECTORY"), env=env, stdout=out,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                                   preexec_fn=prepare)
        try:
            code = process.wait(timeout=properties.get("TIMEOUT", 1200))
        except subprocess.TimeoutExpired:
            code = "ended by its time limit"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    wanted = properties.get("PASS_REGULAR_EXPRESSION")
    with open(log, errors="replace") as f:
        passed = any(re.search(w, f.read()) for w in wanted) if wanted else code == 0
    return passed, time.monotonic() - began, code


@contextlib.contextmanager
def slowed(mode):
    """What a child calls before it starts, and how that slows it."""
    with contextlib.ExitStack() as stack:
        if mode == "busy":
            stack.enter_context(busy_loops(2 * os.cpu_count()))
            yield None, f"beside {2 * os.cpu_count()} busy loops"
        elif group := stack.enter_context(quota()):
            def enter():
                with open(group, "w") as f:
                    f.write(str(os.getpid()))
            yield enter, f"in a control group with {os.cpu_count() / 4:g} of {os.cpu_count()} cores"
        else:
            core = min(os.sched_getaffinity(0))
            stack.enter_context(busy_loops(3, core))
            yield lambda: os.sched_setaffinity(0, {core}), "on one core, shared with three busy loops"


def run_all(mode, tests, logs):
    red = []
    with slowed(mode) as (prepare, how):
        print(f"{mode}: {how}", flush=True)
        for test in tests:
            log = os.path.join(logs, f"slow-{mode}-{test['name']}.log")
            passed, seconds, code = run(test, log, prepare)
            print(f"  {test['name']:32} {seconds:7.1f} s  {'ok' if passed else f'RED ({code}), see {log}'}", flush=True)
            if not passed:
                red.append(f"{test['name']} ({mode})")
    return red


def run_stages(stages):
    """Exit code of deploy/test.sh for the stages, at a quarter of the speed."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    names = [word for stage in stages for word in ("--stage", stage)]
    with slowed("quarter") as (prepare, how):
        print(f"quarter: {how}", flush=True)
        return subprocess.run([os.path.join(root, "deploy", "test.sh"), *names], preexec_fn=prepare, check=False,
                              env=dict(os.environ, BLOCKSTEP_TEST_LOGS=os.path.join(root, "build/test-logs/quarter"))
                              ).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--build")
    what.add_argument("--stage", action="append")
    parser.add_argument("--mode", action="append", choices=("quarter", "busy"))
    parser.add_argument("-R", dest="regex", default=TESTS)
    args = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # what was set up is taken back
    if args.stage:
        sys.exit(run_stages(args.stage))
    shown = subprocess.run(["ctest", "--show-only=json-v1"], cwd=args.build, check=True, capture_output=True, text=True)
    tests = [t for t in json.loads(shown.stdout)["tests"] if re.search(args.regex, t["name"]) and "command" in t]
    if not tests:
        sys.exit(f"slow.py: -R: expected names of tests in {args.build}, got '{args.regex}', which fits none")
    logs = os.path.join(os.path.dirname(os.path.abspath(args.build)), "test-logs")
    os.makedirs(logs, exist_ok=True)
    red = [r for mode in args.mode or ("quarter", "busy") for r in run_all(mode, tests, logs)]
    print(f"{len(tests)} tests" + (f"; RED: {', '.join(red)}" if red else ": all green"))
    sys.exit(1 if red else 0)


main()
