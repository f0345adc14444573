"""mpirun and all its ranks are killed at random moments of a run that saves beside its steps; each
time the run goes on from a checkpoint no older than the last announced one, on any number of ranks,
and it ends in the hash of a run that nobody killed.

  sigkill_cli_test.py [--rounds N] [--seed K]     N kills, 3 by default
"""
import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time

import cli

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--seed", type=int, default=1)
ARGS, REST = parser.parse_known_args()


def processes(session):
    """Ids of the session's processes that have not ended: mpirun gives ranks groups of their own."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(name))
    return found


def kill_all(session, rng):
    while True:
        pids = processes(session)
        if not pids:
            return
        rng.shuffle(pids)  # mpirun first, or a rank first
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


class Sigkill(cli.RunTest):
    settings = dict(cli.POLICIES["blockllm"], **{
        "policy.name": "blockllm", "train.steps": 30, "checkpoint.every_steps": 2})

    def part(self, run, ranks, seconds, rng):
        """A part of the run that is killed after `seconds`: (whether it ended by itself, stderr)."""
        log = os.path.join(self.folder.name, "stderr")
        with open(log, "w") as stderr:
            process = subprocess.Popen(
                cli.command(run, self.settings, ranks=ranks, flags=["--resume", "auto"]),
                env=cli.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=stderr, start_new_session=True)
            try:
                process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                kill_all(process.pid, rng)
            code = process.wait(timeout=60)
        with open(log) as f:
            text = f.read()
        self.assertIn(code, (0, -signal.SIGKILL, 128 + signal.SIGKILL), text)
        return code == 0, text

    def test_random_moments(self):
        began = time.monotonic()
        whole = cli.train(self.new_run(), self.settings, ranks=2)
        duration = time.monotonic() - began
        wanted = cli.weights_hash(whole)
        rng = random.Random(ARGS.seed)
        kills = 0
        run, announced, starts = self.new_run(), 0, []
        while True:
            last = kills == ARGS.rounds
            ranks = rng.randint(1, 4)
            ended, text = self.part(run, ranks, 120 if last else rng.uniform(0.1, 0.9) * duration,
                                    rng)
            start = cli.first_step(text)
            if start is not None:
                starts.append((ranks, start))
                self.assertGreaterEqual(start, announced, "older than what was announced\n" + text)
            said = [int(step) for step in re.findall(r"checkpoint \S+/step-(\d+),", text)]
            announced = max([announced, *said])
            if not ended:
                kills += 1
                continue
            self.assertEqual(cli.weights_hash(text), wanted, f"(ranks, first step): {starts}")
            print(f"(ranks, first step): {starts}", flush=True)
            if last:
                break
            run, announced, starts = self.new_run(), 0, []
        self.assertEqual(kills, ARGS.rounds)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], *REST]
    cli.main()
