#!/usr/bin/env python3
"""Two commits must train the same weights: `blockstep verify`'s cases and 60 steps of `numerics: fast`
for every policy on 1 and 2 ranks, run with both programs, hash by hash.

tests/compare/compare_commits.py --base COMMIT [--new COMMIT] [--pairwise] [--only verify|fast]
  --base COMMIT, --base-binary PATH   what was: a commit, built below build/compare, or a program that is built
  --new COMMIT, --new-binary PATH     what is (the work tree, built in build/cpu-release)

A change that claims to leave the arithmetic alone runs this before it is merged. Compared are the SHA-256 of
the weights, that of the block sequence, and one over the losses of all steps as metrics.jsonl has them. Run
folders and logs stay in build/compare. Exit code 0: all equal; 1: a difference, or a case that did not run.
"""
import argparse
import collections
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PLACE = os.path.join(ROOT, "build/compare")
POLICIES = ("full", "badam", "blockllm")
FAST_RANKS = (1, 2)
HASHES = ("weights", "blocks", "losses")

Side = collections.namedtuple("Side", "name program sources")  # sources: where its configurations are


def fail(text):
    sys.exit(f"compare_commits.py: {text}")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def build(commit, name):
    """The program of a commit, or of the work tree (None)."""
    if commit is None:
        sources = ROOT
    else:
        commit = output("git", "rev-parse", "--verify", f"{commit}^{{commit}}")
        sources = os.path.join(PLACE, f"sources-{commit[:12]}")
        if not os.path.isdir(sources):
            os.makedirs(sources + ".part", exist_ok=True)
            subprocess.run(f"git archive {commit} | tar -x -C '{sources}.part'", shell=True, check=True, cwd=ROOT)
            os.rename(sources + ".part", sources)
    # Both trees find in the compiler cache what the other one compiled: paths are taken as relative.
    env = dict({"CCACHE_BASEDIR": ROOT, "CCACHE_NOHASHDIR": "1"}, **os.environ)
    print(f"{name}: building {commit[:12] if commit else 'the work tree'}", flush=True)
    done = subprocess.run([os.path.join(sources, "deploy/setup.sh"), "--target", "blockstep"], text=True, env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        fail(f"{name}: does not build:\n{done.stdout[-4000:]}")
    return Side(name, os.path.join(sources, "build/cpu-release/bin/blockstep"), sources)


def run(command, log):
    """Runs with Open MPI's settings for this machine; the exit code. Output goes to `log`."""
    with open(log, "w") as out:
        return subprocess.run(["bash", "-c", 'source "$0" && exec "$@"', os.path.join(ROOT, "deploy/mpi_env.sh"),
                               *command], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).returncode


def read(path):
    with open(path, errors="replace") as f:
        return f.read()


def losses(folder):
    digest = hashlib.sha256()
    for line in read(os.path.join(folder, "metrics.jsonl")).splitlines():
        row = json.loads(line)
        if "loss" in row:
            digest.update(f"{row['step']} {row['loss']!r}\n".encode())
    return digest.hexdigest()


def hashes(log, folder):
    """What a run said at its end; {} if it did not come so far."""
    found = dict(re.findall(r"^(weights|blocks)\b[^\n]* sha256 ([0-9a-f]{64})\b", read(log), re.M))
    if set(found) != {"weights", "blocks"}:
        return {}
    return dict(found, losses=losses(folder))


def run_verify(side, pairwise):
    folder = os.path.join(PLACE, f"{side.name}-verify")
    shutil.rmtree(folder, ignore_errors=True)
    log = folder + ".log"
    code = run([side.program, "verify", "--keep", "--folder", folder, *(["--pairwise"] if pairwise else [])], log)
    if code != 0:
        print(f"{side.name}: blockstep verify: exit code {code}:\n{read(log)[-3000:]}", flush=True)
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.log"))):
        case = os.path.basename(path)[:-4]
        if not case.endswith("-coordinator"):
            found[f"verify {case}"] = hashes(path, os.path.join(folder, case))
    return found


def run_fast(side, steps):
    found = {}
    for policy in POLICIES:
        for ranks in FAST_RANKS:
            case = f"fast {policy}-{ranks}"
            folder = os.path.join(PLACE, f"{side.name}-{case.replace(' ', '-')}")
            shutil.rmtree(folder, ignore_errors=True)
            fields = {"train.steps": steps, "train.numerics": "fast", "policy.name": policy, "runtime.threads": 1,
                      "eval.slots": 4, "optimizer.schedule.warmup_steps": 2}
            command = ["timeout", "-k", "10", "1200", "mpirun", "-n", str(ranks), side.program, "train", "--config",
                       os.path.join(side.sources, "deploy/quickstart.textproto"), "--run", folder]
            for name, value in fields.items():
                command += ["--set", f"{name}={value}"]
            log = folder + ".log"
            os.chdir(side.sources)  # the configuration names its data from there
            found[case] = hashes(log, folder) if run(command, log) == 0 else {}
            if not found[case]:
                print(f"{side.name}: {case}: did not run to its end:\n{read(log)[-2000:]}", flush=True)
    return found


def compare(old, new):
    """Prints the table; how many cases differ or are missing."""
    wrong = 0
    cases = list(dict.fromkeys([*old, *new]))
    width = max(map(len, cases), default=4)
    print(f"\n{'case':{width}}  " + "  ".join(f"{h:16}" for h in HASHES))
    for case in cases:
        a, b = old.get(case, {}), new.get(case, {})
        same = bool(a) and a == b
        wrong += not same
        print(f"{case:{width}}  " + "  ".join(f"{b.get(h, '-')[:16]:16}" for h in HASHES) +
              ("" if same else "  DIFFERS from"))
        if not same:
            print(f"{'  base':{width}}  " + "  ".join(f"{a.get(h, '-')[:16]:16}" for h in HASHES))
    if not cases:
        wrong = 1
    print(f"\n{len(cases)} cases: " + ("EQUAL" if wrong == 0 else f"NOT EQUAL: {wrong} differ or did not run"))
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base")
    parser.add_argument("--base-binary")
    parser.add_argument("--new")
    parser.add_argument("--new-binary")
    parser.add_argument("--pairwise", action="store_true", help="verify --pairwise: fewer cases")
    parser.add_argument("--only", choices=("verify", "fast"))
    parser.add_argument("--steps", type=int, default=60, help="of the fast runs")
    args = parser.parse_args()
    if bool(args.base) == bool(args.base_binary):
        parser.error("expected --base or --base-binary")
    if args.new and args.new_binary:
        parser.error("expected --new or --new-binary, got both")
    os.makedirs(PLACE, exist_ok=True)
    sides = []
    for name, commit, program in (("base", args.base, args.base_binary), ("new", args.new, args.new_binary)):
        if program:
            sides.append(Side(name, os.path.abspath(program), ROOT))
        else:
            sides.append(build(commit, name))
    found = [{}, {}]
    for mine, side in zip(found, sides):
        print(f"{side.name}: {output(side.program, '--version').splitlines()[0]}", flush=True)
        if args.only != "fast":
            mine.update(run_verify(side, args.pairwise))
        if args.only != "verify":
            mine.update(run_fast(side, args.steps))
    sys.exit(1 if compare(*found) else 0)


main()
