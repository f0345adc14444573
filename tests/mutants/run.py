#!/usr/bin/env python3
"""Breaks one line of the sources at a time and requires that a named test goes red.

tests/mutants/run.py [--all | --ci | --list | NAME...] [--build DIR] [--verbose]

mutants.toml lists them. This tree is never changed: the script mirrors it (what git tracks and what is
new) into DIR/tree (build/mutants), builds there with the preset cpu-release, and keeps that build between
mutants and between calls. Each named test must be green first. A mutant is killed by a test case that
fails or in the midst of which the test dies. A mutant that does not compile, a test that ran no case, and
one that hangs (unless the entry says `hang = true`) are no kills. Exit code 0: all were killed.
Tests are GoogleTest programs, also under mpirun, or unittest scripts, chosen from by `filter`; with an empty
filter ctest itself says whether the test failed.
"""
import argparse
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PRESET = "cpu-release"
NEEDED = {"file", "old", "new", "test", "filter", "says"}
OPTIONAL = {"timeout", "hang", "ci", "targets"}
BUILD_SECONDS = 1200


class Wrong(Exception):
    """Of an entry or the tree: neither killed nor survived."""


def load():
    with open(os.path.join(ROOT, "tests/mutants/mutants.toml"), "rb") as f:
        mutants = tomllib.load(f)
    for name, m in mutants.items():
        if NEEDED - set(m) or set(m) - NEEDED - OPTIONAL:
            sys.exit(f"mutants.toml: [{name}]: expected {sorted(NEEDED)}, got {sorted(m)}, "
                     f"perhaps {sorted(OPTIONAL)}")
    return mutants


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def mirror(tree):
    """Makes `tree` equal to this one; what is equal already keeps its times, so little is rebuilt."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-coz", "--exclude-standard"], check=True,
                            capture_output=True, text=True).stdout.split("\0")
    wanted = {f for f in listed if f and os.path.isfile(os.path.join(ROOT, f))}
    for folder, inside, files in os.walk(tree):
        if folder == tree and "build" in inside:
            inside.remove("build")
        for f in files:
            path = os.path.join(folder, f)
            if os.path.relpath(path, tree) not in wanted:
                os.remove(path)
    for f in wanted:
        source, copy = os.path.join(ROOT, f), os.path.join(tree, f)
        if not os.path.isfile(copy) or read(copy) != read(source):
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy(source, copy)


def run(command, seconds, **options):
    """(exit code, output); the code is None if it ran past its time. What it started ends with it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               errors="replace", stdin=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        output = process.communicate(timeout=seconds)[0]
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]


class Builder:
    def __init__(self, base):
        self.tree = os.path.join(base, "tree")
        self.build_dir = os.path.join(self.tree, "build", PRESET)
        self.temporary = os.path.join(base, "tmp")
        os.makedirs(self.temporary, exist_ok=True)
        # A compiler cache finds again what other trees and this one compiled: paths are taken as relative.
        self.environment = dict(os.environ, TEST_TMPDIR=self.temporary)
        self.environment.setdefault("CCACHE_BASEDIR", ROOT)
        self.environment.setdefault("CCACHE_NOHASHDIR", "1")
        self.tests = {}
        mirror(self.tree)
        if not os.path.isfile(os.path.join(self.build_dir, "build.ninja")):
            code, output = run(["cmake", "--preset", PRESET, "-Wno-dev"], 300, cwd=self.tree, env=self.environment)
            if code != 0:
                sys.exit(f"mutants: configuring {self.tree} failed ({code}):\n{output}")

    def build(self, targets):
        code, output = run(["cmake", "--build", self.build_dir, "-j", str(os.cpu_count()), "--target", *targets],
                           BUILD_SECONDS, env=self.environment)
        if code != 0:
            raise Wrong("build ran out of time" if code is None else "does not build:\n" + output[-4000:])

    def find_tests(self):
        """Command and environment of every ctest entry."""
        shown = subprocess.run(["ctest", "--show-only=json-v1"], cwd=self.build_dir, check=True,
                               capture_output=True, text=True).stdout
        for t in json.loads(shown)["tests"]:
            properties = {p["name"]: p["value"] for p in t.get("properties", [])}
            settings = dict(v.split("=", 1) for v in properties.get("ENVIRONMENT", []))
            self.tests[t["name"]] = (t.get("command"), dict(self.environment, GTEST_COLOR="no", **settings))

    def test(self, name, cases, seconds):
        if not cases:
            return run(["ctest", "-R", f"^{name}$", "--output-on-failure"], seconds, cwd=self.build_dir,
                       env=self.environment)
        command, environment = self.tests[name]
        chosen = cases.split() if command[0].endswith("python3") else [f"--gtest_filter={cases}"]
        return run([*command, *chosen], seconds, cwd=self.temporary, env=environment)


# What GoogleTest, unittest and ctest say of a case that failed, and of a test that passed.
FAILED = (r"^\[  FAILED  \] ([\w/.]+)", r"^(?:FAIL|ERROR): (\w+)", r"Test +#\d+: (\S+) \.+\*\*\*Failed")
PASSED = (r"^\[  PASSED  \] [1-9]", r"^Ran [1-9]\d* tests? in [\d.]+s\n\nOK$", r"^100% tests passed, 0 tests failed out of 1$")


def killer(code, output):
    """The test case that went red; None if none did."""
    if code in (0, None):
        return None
    for pattern in FAILED:
        if failed := re.search(pattern, output, re.M):
            return failed[1]
    begun = re.findall(r"^\[ RUN      \] (\S+)", output, re.M)
    return begun[-1] + " (died)" if begun and not re.search(r"^\[  PASSED  \]", output, re.M) else None


def broken(path, m):
    """The text with the mutant in it; the old lines are there exactly once."""
    text = read(path).decode()
    old, new = m["old"].rstrip("\n") + "\n", m["new"].rstrip("\n") + "\n" if m["new"] else ""
    found = ("\n" + text).count("\n" + old)
    if found != 1:
        raise Wrong(f"{m['file']}: expected its old line once, got it {found} times")
    return ("\n" + text).replace("\n" + old, "\n" + new)[1:]


def targets(m):
    return m.get("targets", [m["test"]])


def try_one(builder, m):
    """(killed by, or None; what happened)"""
    path = os.path.join(builder.tree, m["file"])
    whole = read(path)
    write(path, broken(path, m).encode())
    try:
        builder.build(targets(m))
        code, output = builder.test(m["test"], m["filter"], m.get("timeout", 60))
    finally:
        write(path, whole)
    if code is None:
        return ("hang" if m.get("hang") else None), "hangs\n" + output[-2000:]
    by = killer(code, output)
    return by, f"SURVIVED (exit code {code})\n" + output[-2000:]


def check_green(builder, mutants):
    """Each case once, so that a filter that matches nothing is seen."""
    for test, cases in sorted({(m["test"], m["filter"]) for m in mutants.values()}):
        began = time.time()
        code, output = builder.test(test, cases, 300)
        if code != 0 or not any(re.search(p, output, re.M) for p in PASSED):
            raise Wrong(f"{test} {cases}: not green without a mutant (exit code {code}):\n{output[-4000:]}")
        print(f"green    {test} {cases}  {time.time() - began:.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--ci", action="store_true", help="the fixed three with cheap builds")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="say more of mutants that survive")
    parser.add_argument("--build", default=os.path.join(ROOT, "build/mutants"), metavar="DIR")
    args = parser.parse_args()
    every = load()
    chosen = {n: m for n, m in every.items() if args.all or (args.ci and m.get("ci")) or n in args.names}
    if unknown := set(args.names) - set(every):
        parser.error(f"unknown {sorted(unknown)}; expected names out of {sorted(every)}")
    if args.list:
        for name, m in every.items():
            print(f"{name}: {m['says']} ({m['file']}, {m['test']})")
        return 0
    if not chosen:
        parser.error("which? --all, --ci or names; --list shows them")
    os.makedirs(args.build, exist_ok=True)
    lock = open(os.path.join(args.build, "lock"), "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    began_all = time.time()
    try:
        builder = Builder(os.path.abspath(args.build))
        for m in chosen.values():
            broken(os.path.join(builder.tree, m["file"]), m)
        builder.build(sorted({t for m in chosen.values() for t in targets(m)}))
        builder.find_tests()
        print(f"built    {time.time() - began_all:.1f} s", flush=True)
        check_green(builder, chosen)
    except Wrong as e:
        sys.exit(f"mutants: {e}")
    rows = []
    # One test after the other: what the last mutant of a test changed is linked back once.
    for name, m in sorted(chosen.items(), key=lambda item: item[1]["test"]):
        began = time.time()
        try:
            by, text = try_one(builder, m)
        except Wrong as e:
            by, text = None, str(e)
        rows.append((name, m["test"], by, time.time() - began))
        print(f"{'killed ' if by else 'SURVIVED'} {name}  {by or ''}  {rows[-1][3]:.1f} s", flush=True)
        if not by:
            print(text if args.verbose else text.split("\n")[0], flush=True)
    print("\n| mutant | test | killed by | s |\n|---|---|---|---|")
    for name, test, by, seconds in rows:
        print(f"| {name} | {test} | {by or 'nobody'} | {seconds:.0f} |")
    killed = sum(1 for r in rows if r[2])
    print(f"\n{killed} of {len(rows)} mutants killed, {time.time() - began_all:.0f} s")
    return 0 if killed == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
