"""A rank dies or stops in the midst of a product, a collective or a save: the run ends with a report
and a documented code, never hangs, and continues to the hash of a run without fault.

  faults_cli_test.py          nine of 27 cases: every two of rank, signal and place meet; --all: all of them
"""
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
import unittest

import cli

RANKS = 3
LEASE_S = 2
# The call in which it happens: late enough for a checkpoint, early enough for the run's end.
PLACES = {"product": 3000, "message": 2000, "save": 12}
REFUSED = "refused message"
SIGNALS = {"KILL": 137, "SEGV": 139, "STOP": 5}
ALL = list(itertools.product(range(RANKS), SIGNALS, PLACES))
# A Latin square.
SOME = [(r, s, list(PLACES)[(r + i) % 3]) for r, (i, s) in itertools.product(range(RANKS), enumerate(SIGNALS))]
CASES = ALL if "--all" in sys.argv else SOME


class Lag:
    """How late this machine wakes those who sleep: a report may be late by as much at each of its looks."""

    LOOKS = 40  # from the beginning of a wait to its report

    def __enter__(self):
        self.worst, self.done = 0.0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        began = time.monotonic()
        while not self.done.wait(0.01):
            now = time.monotonic()
            self.worst, began = max(self.worst, now - began - 0.01), now

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def seconds(self):
        return self.LOOKS * self.worst


class Choice(unittest.TestCase):
    def test_every_two_values_meet(self):
        for a, b in itertools.combinations(range(3), 2):
            self.assertEqual({(c[a], c[b]) for c in SOME}, {(c[a], c[b]) for c in ALL})


class Faults(cli.RunTest):
    settings = dict(cli.POLICIES["blockllm"], **{
        "policy.name": "blockllm", "train.steps": 40, "checkpoint.every_steps": 5,
        "coordinator.lease_s": LEASE_S})
    reports = []  # (seconds to the report, lag, its text) of each case

    def fault(self, rank, name, place):
        """The run in which it happens, its exit code, stderr and seconds, and how late the machine was."""
        run = self.new_run()
        env = dict(cli.environment(), LD_PRELOAD=os.environ["FAULT_SHIM"], FAULT_CALL=place,
                   FAULT_RANK=str(rank), FAULT_AT=str(PLACES.get(place, 2000)),
                   FAULT_SIGNAL=str(int(getattr(signal, "SIG" + name))) if name else "")
        began = time.monotonic()
        with Lag() as lag:
            done = subprocess.run(cli.command(run, self.settings, ranks=RANKS), env=env, text=True,
                                  capture_output=True, stdin=subprocess.DEVNULL, timeout=cli.LAST_RESORT_S + 30)
        return run, done.returncode, done.stderr, time.monotonic() - began, lag.seconds()

    def test_every_fault_ends_with_a_report_and_resumes(self):
        wanted = cli.weights_hash(cli.train(self.new_run(), self.settings, ranks=2))
        for rank, name, place in CASES:
            with self.subTest(rank=rank, signal=name, place=place):
                run, code, text, seconds, lag = self.fault(rank, name, place)
                self.assertNotIn("weights sha256", text, "the fault did not happen")
                self.assertEqual(code, SIGNALS[name], text)
                self.assertRegex(text, r'blockstep: rank \d: step \d+(, save|, evaluation)?: '
                                       r'[a-z-]+ ".*" \(call \d+\) has waited')
                waited = [float(s) for s in re.findall(r"has waited ([\d.]+) s", text)]
                print(f"rank {rank} {name} in {place}: exit {code}, {seconds:.1f} s, reported after "
                      f"{waited[0]} s of {LEASE_S} + {lag:.2f} s", flush=True)
                self.reports.append((waited[0], lag, text))  # of the first that speaks
                if name == "STOP":
                    # Of a rank that stopped before its second heartbeat, only its start is known.
                    said = (r"last calls of the other ranks unknown" if rank == 0 else
                            rf"rank {rank} on \S+: \w+ \d+, (\w+, )?(last call .*|no call yet).* LOST: silent for")
                    self.assertRegex(text, said)
                else:
                    self.assertIn(f"mpirun noticed that process rank {rank} ", text)
                self.assertTrue(os.listdir(os.path.join(run, "checkpoints")), text)
                again = cli.train(run, self.settings, ranks=RANKS, flags=["--resume", "auto"])
                self.assertEqual(cli.weights_hash(again), wanted)

    def test_reports_came_within_the_lease(self):
        """Of the faults before this in the alphabet. watchdog/lease_test.cc shows it on a clock of its own."""
        self.assertEqual(len(self.reports), len(CASES), "expected test_every_fault_ends_with_a_report_and_resumes before")
        # A machine that is late by a lease itself says nothing of ours.
        sleepy = [lag for _, lag, _ in self.reports if lag >= LEASE_S]
        for waited, lag, text in self.reports:
            if lag < LEASE_S:
                self.assertLess(waited, LEASE_S + lag, text)
        if sleepy:
            self.skipTest(f"{len(sleepy)} of {len(CASES)} reports: this machine may be {max(sleepy):.1f} s late in "
                          f"{Lag.LOOKS} looks, the lease is {LEASE_S} s")

    def test_an_error_of_one_rank_inside_mpi_is_told_by_that_rank(self):
        for rank in (0, 1):
            with self.subTest(rank=rank):
                run, code, text, seconds, _ = self.fault(rank, None, REFUSED)
                print(f"rank {rank}: {REFUSED}: exit {code}, {seconds:.1f} s", flush=True)
                self.assertEqual(code, 1, text)
                self.assertRegex(text, rf'blockstep: rank {rank}: .*MPI: MPI_ERR_OTHER')
                self.assertTrue(os.listdir(os.path.join(run, "checkpoints")), text)

    def test_a_rank_that_stops_in_mpis_start(self):
        """MPI itself would wait for ever."""
        settings = dict(self.settings, **{"runtime.comm_timeout_s": 4})
        env = dict(cli.environment(), LD_PRELOAD=os.environ["FAULT_SHIM"], FAULT_CALL="start", FAULT_RANK="1",
                   FAULT_AT="1", FAULT_SIGNAL=str(int(signal.SIGSTOP)))
        done = subprocess.run(cli.command(self.new_run(), settings, ranks=2), env=env, text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=cli.LAST_RESORT_S + 30)
        text = done.stderr
        self.assertEqual(done.returncode, 5, text)
        self.assertRegex(text, r"rank \d: MPI_Init timed out after 4 s: |rank \d: .* timed out after 4000 ms")


if __name__ == "__main__":
    sys.argv = [a for a in sys.argv if a != "--all"]
    cli.main()
