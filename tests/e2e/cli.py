"""Runs of the real program for tests: a tiny Llama on the bundled text, over mpirun or threads."""
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BLOCKSTEP = os.environ["BLOCKSTEP"]
DATA = os.path.join(SOURCE, "deploy/data/c4_tiny")
MPI_ENV = os.path.join(SOURCE, "deploy/mpi_env.sh")
# What ends a test that hangs. No test waits for it: it has room for a machine of a quarter of the speed.
LAST_RESORT_S = 300
POLICIES = {
    "full": {},
    "badam": {"policy.block_steps": 7},
    "blockllm": {"policy.patience": 5, "policy.probes_per_step": 2, "policy.sparsity": 0.6},
}
TINY = {
    "model.config": os.path.join(SOURCE, "tests/e2e/tiny_model.json"),
    "data.train": os.path.join(DATA, "train.bin"),
    "data.tokens": 16,
    "batch.slots": 6,
    "train.steps": 100,
    "train.numerics": "slot_exact",
    "optimizer.lr": 0.01,
    "runtime.threads": 1,
}


def command(run, settings, ranks=1, mpi=True, flags=()):
    fields = dict(TINY, **settings)
    args = [BLOCKSTEP, "train", "--run", run, *flags]
    if not mpi:
        fields.update({"runtime.transport": "local", "runtime.local_ranks": ranks})
    for name, value in fields.items():
        args += ["--set", f"{name}={value}"]
    if mpi:
        args = ["timeout", "-k", "5", str(LAST_RESORT_S), "mpirun", "-n", str(ranks), *args]
    return args


@functools.cache
def mpi_settings():
    """What deploy/mpi_env.sh sets."""
    shown = subprocess.run(["bash", "-c", 'source "$0" && env', MPI_ENV], env={"PATH": os.environ["PATH"]}, text=True,
                           capture_output=True, check=True).stdout
    return dict(line.split("=", 1) for line in shown.splitlines() if line.startswith("OMPI_"))


def environment():
    return dict(os.environ, **mpi_settings())


def train(run, settings, expect=0, **kwargs):
    """Trains to the end; returns stderr."""
    done = subprocess.run(command(run, settings, **kwargs), env=environment(), text=True,
                          capture_output=True, timeout=LAST_RESORT_S + 30, stdin=subprocess.DEVNULL)
    if done.returncode != expect:
        raise AssertionError(f"expected exit code {expect}, got {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stderr


def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(child) for child in f.read().split()]
    except OSError:  # it has just ended
        return []


def ranks_of(pid):
    """The ranks that an mpirun (inside `timeout`) has started."""
    found, left = [], [pid]
    while left:
        below = children_of(left.pop())
        left += below
        for child in below:
            try:
                with open(f"/proc/{child}/comm") as f:
                    if f.read().strip() == "blockstep":
                        found.append(child)
            except OSError:
                pass
    return found


def state_of(pid):
    """As in /proc/<pid>/stat: "T" is stopped; "" if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


def pending(pid, number):
    """Whether a (stopped) process has a signal to take when it goes on."""
    with open(f"/proc/{pid}/status") as f:
        masks = re.findall(r"^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$", f.read(), re.M)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def read_until(process, seen):
    """What a process says, to the end of the line with which seen(all of it so far) is true."""
    text = ""
    for line in process.stderr:
        text += line
        if seen(text):
            break
    return text


def wait_until(ready, process=None, seconds=LAST_RESORT_S):
    """Until ready() is true, while `process` runs. The time is a last resort."""
    until = time.monotonic() + seconds
    while not ready():
        if process is not None and process.poll() is not None:
            said = process.stderr.read() if process.stderr else ""
            raise AssertionError(f"it ended before, with exit code {process.poll()}\n{said}")
        if time.monotonic() > until:
            raise AssertionError(f"expected it within {seconds} s")
        time.sleep(0.005)


class Gate:
    """Holds a process in counted calls (fault_shim.c) until they are let go: what a test does meanwhile comes at that
    very point of the run, on a fast machine and on a slow one. By default rank 0 when it has announced a step."""
    made = 0

    def __init__(self, folder, *at, call="announce", rank=0, prefix="FAULT"):
        Gate.made += 1
        self.path = os.path.join(folder, f"gate{Gate.made}")
        self.env = {"LD_PRELOAD": os.environ["FAULT_SHIM"], f"{prefix}_CALL": call, f"{prefix}_RANK": str(rank),
                    f"{prefix}_AT": ",".join(map(str, at)), f"{prefix}_GATE": self.path}

    def held(self, at):
        return os.path.exists(f"{self.path}.{at}.held")

    def wait(self, at, process):
        wait_until(lambda: self.held(at), process)

    def open(self, at):
        with open(f"{self.path}.{at}", "w"):
            pass


def weights_hash(text):
    found = re.findall(r"weights sha256 ([0-9a-f]{64})", text)
    assert len(found) == 1, text
    return found[0]


def first_step(text):
    """At which step a part of a run began; None: it did not come so far."""
    begun = re.search(r"^run [0-9a-f]{32} in .*, \d+ ranks?(?:, continued at step (\d+))?$", text, re.M)
    return begun and int(begun[1] or 0)


def blocks(run):
    """The block of every step, from metrics.jsonl."""
    with open(os.path.join(run, "metrics.jsonl")) as f:
        rows = [json.loads(line) for line in f]
    return [(r["step"], r["phase"], r["block"], r["loss"]) for r in rows if "loss" in r]


class RunTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.runs = 0

    def new_run(self):
        self.runs += 1
        return os.path.join(self.folder.name, f"run{self.runs}")


def main():
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])
