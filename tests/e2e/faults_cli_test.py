"""A rank dies or stops in the midst of a product, a collective or a save: the run ends with a report
and a documented code, never hangs, and continues to the hash of a run without fault.

  faults_cli_test.py          a pairwise choice; --all: rank x signal x place, all of them
"""
import itertools
import os
import re
import signal
import subprocess
import sys
import time

import cli

RANKS = 3
LEASE_S = 2
# The call in which it happens: late enough for a checkpoint, early enough for the run's end.
PLACES = {"product": 3000, "message": 2000, "save": 12}
REFUSED = "refused message"
SIGNALS = {"KILL": 137, "SEGV": 139, "STOP": 5}
ALL = list(itertools.product(range(RANKS), SIGNALS, PLACES))
SOME = [(2, "KILL", "message"), (0, "SEGV", "save"), (1, "STOP", "product"), (0, "STOP", "message")]
CASES = ALL if "--all" in sys.argv else SOME


class Faults(cli.RunTest):
    settings = dict(cli.POLICIES["blockllm"], **{
        "policy.name": "blockllm", "train.steps": 40, "checkpoint.every_steps": 5,
        "coordinator.lease_s": LEASE_S})

    def fault(self, rank, name, place):
        """Exit code, stderr and seconds of a run in which it happens."""
        run = self.new_run()
        env = dict(cli.environment(), LD_PRELOAD=os.environ["FAULT_SHIM"], FAULT_CALL=place,
                   FAULT_RANK=str(rank), FAULT_AT=str(PLACES.get(place, 2000)),
                   FAULT_SIGNAL=str(int(getattr(signal, "SIG" + name))) if name else "")
        began = time.monotonic()
        done = subprocess.run(cli.command(run, self.settings, ranks=RANKS), env=env, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=150)
        return run, done.returncode, done.stderr, time.monotonic() - began

    def test_every_fault_ends_with_a_report_and_resumes(self):
        wanted = cli.weights_hash(cli.train(self.new_run(), self.settings, ranks=2))
        for rank, name, place in CASES:
            with self.subTest(rank=rank, signal=name, place=place):
                run, code, text, seconds = self.fault(rank, name, place)
                print(f"rank {rank} {name} in {place}: exit {code}, {seconds:.1f} s", flush=True)
                self.assertNotIn("weights sha256", text, "the fault did not happen")
                self.assertEqual(code, SIGNALS[name], text)
                self.assertRegex(text, r'blockstep: rank \d: (step|save|evaluation) \d+: '
                                       r'[a-z-]+ ".*" \(call \d+\) has waited')
                waited = [float(s) for s in re.findall(r"has waited ([\d.]+) s", text)]
                # Far from a missing bound, and from what a loaded machine adds.
                self.assertLess(min(waited), 2 * LEASE_S, text)
                if name == "STOP":
                    said = (r"what the other ranks last did is not known" if rank == 0 else
                            rf"rank {rank} on \S+: \w+ \d+, (last call .*|no call yet).* LOST: silent for")
                    self.assertRegex(text, said)
                else:
                    self.assertIn(f"mpirun noticed that process rank {rank} ", text)
                self.assertTrue(os.listdir(os.path.join(run, "checkpoints")), text)
                again = cli.train(run, self.settings, ranks=RANKS, flags=["--resume", "auto"])
                self.assertEqual(cli.weights_hash(again), wanted)

    def test_an_error_of_one_rank_inside_mpi_is_told_by_that_rank(self):
        for rank in (0, 1):
            with self.subTest(rank=rank):
                run, code, text, seconds = self.fault(rank, None, REFUSED)
                print(f"rank {rank}: {REFUSED}: exit {code}, {seconds:.1f} s", flush=True)
                self.assertEqual(code, 1, text)
                self.assertRegex(text, rf'blockstep: rank {rank}: .*MPI: MPI_ERR_OTHER')
                self.assertTrue(os.listdir(os.path.join(run, "checkpoints")), text)

    def test_a_rank_that_stops_in_mpis_start(self):
        """MPI itself would wait for ever."""
        settings = dict(self.settings, **{"runtime.comm_timeout_s": 4})
        process = subprocess.Popen(cli.command(self.new_run(), settings, ranks=2), env=cli.environment(),
                                   text=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        ranks = []
        while not ranks:
            self.assertIsNone(process.poll())
            ranks = cli.ranks_of(process.pid)
        os.kill(ranks[-1], signal.SIGSTOP)
        _, text = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 5, text)
        self.assertRegex(text, r"rank \d: MPI_Init timed out after 4 s: |rank \d: .* waited 4000 ms")


if __name__ == "__main__":
    sys.argv = [a for a in sys.argv if a != "--all"]
    cli.main()
