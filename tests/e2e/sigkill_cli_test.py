"""mpirun and all its ranks are killed in a counted call (a step announced, a product, a message, a file of a save) of
a run that saves beside its steps; which call is drawn from a seed, always one that comes before the run's end. Each
time the run goes on from a checkpoint no older than the last announced one, on any number of ranks, and it ends in
the hash of a run that nobody killed.

  sigkill_cli_test.py [--rounds N] [--seed K]     N kills, 4 by default
"""
import argparse
import os
import random
import re
import signal
import subprocess
import sys

import cli

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=4)
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


STEPS, EVERY = 30, 2
# At least so many calls of each kind come from any rank of at least two between two steps (a save: between two saves).
CALLS = {"announce": 1, "product": 20, "message": 5, "save": 2}


class Sigkill(cli.RunTest):
    settings = dict(cli.POLICIES["blockllm"], **{
        "policy.name": "blockllm", "train.steps": STEPS, "checkpoint.every_steps": EVERY, "coordinator.lease_s": 300})

    def newest(self, run):
        """The step from which the run goes on at the latest."""
        try:
            names = os.listdir(os.path.join(run, "checkpoints"))
        except FileNotFoundError:
            return 0
        return max([0, *(int(name[5:]) for name in names if not name.endswith(".tmp"))])

    def gate(self, run, ranks, rng):
        """In which call of which rank the next part is killed: one that comes before its end; None: it has none."""
        steps = STEPS - self.newest(run)
        call = rng.choice(sorted(CALLS) if ranks > 1 else ["announce", "product", "save"])
        times = CALLS[call] * (steps // EVERY if call == "save" else steps)
        rank = 0 if call == "announce" else rng.randrange(ranks)
        return cli.Gate(self.folder.name, rng.randint(1, times), call=call, rank=rank) if times else None

    def part(self, run, ranks, gate, rng):
        """A part of the run, killed in the gate's call: (whether it ended by itself, stderr)."""
        log = os.path.join(self.folder.name, "stderr")
        with open(log, "w") as stderr:
            process = subprocess.Popen(
                cli.command(run, self.settings, ranks=ranks, flags=["--resume", "auto"]),
                env=dict(cli.environment(), **(gate.env if gate else {})), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True)
            try:
                if gate:
                    gate.wait(int(gate.env["FAULT_AT"]), process)
                    kill_all(process.pid, rng)
                code = process.wait(timeout=cli.LAST_RESORT_S)
            finally:
                kill_all(process.pid, rng)
        with open(log) as f:
            text = f.read()
        self.assertIn(code, (-signal.SIGKILL, 128 + signal.SIGKILL) if gate else (0,), text)
        return text

    def test_killed_in_counted_calls(self):
        wanted = cli.weights_hash(cli.train(self.new_run(), self.settings, ranks=2))
        rng = random.Random(ARGS.seed)
        kills = 0
        while kills < ARGS.rounds:
            run, announced, parts = self.new_run(), 0, []
            gate = True
            while gate:
                ranks = rng.randint(1, 4)
                gate = self.gate(run, ranks, rng) if kills < ARGS.rounds and len(parts) < 3 else None
                text = self.part(run, ranks, gate, rng)
                start = cli.first_step(text)
                parts.append((ranks, start, gate and (gate.env["FAULT_CALL"], gate.env["FAULT_AT"])))
                if start is not None:
                    self.assertGreaterEqual(start, announced, f"older than what was announced: {parts}\n{text}")
                said = [int(step) for step in re.findall(r"checkpoint \S+/step-(\d+): ", text)]
                self.assertTrue(gate or said or start is None, f"no line of a save that ended:\n{text}")
                announced = max([announced, *said])
                kills += bool(gate)
            self.assertEqual(cli.weights_hash(text), wanted, f"(ranks, first step, killed in): {parts}")
            print(f"(ranks, first step, killed in): {parts}", flush=True)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], *REST]
    cli.main()
