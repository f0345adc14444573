"""`blockstep verify` says so when cases differ or do not run, and its cases are what they are called."""
import glob
import json
import os
import re
import signal
import stat
import struct
import subprocess
import tempfile
import time

import cli
import coordinated

STEPS = 5
AXES = ["--policies", "full", "--steps", str(STEPS)]


def records(path):
    """How many the log of a coordinator holds: a header, then reports."""
    with open(path, "rb") as f:
        data = f.read()
    assert data.startswith(b"BSCLOG1\n"), data[:8]
    at, count = 8, 0
    while at < len(data):
        at += 12 + struct.unpack_from("<I", data, at)[0]
        count += 1
    return count


class Verify(coordinated.CoordinatedTest):
    def launcher(self, script):
        """In place of mpirun."""
        path = os.path.join(self.folder.name, "launcher.sh")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f'#!/bin/bash\nsource "{cli.MPI_ENV}"\n{script}')
        os.chmod(path, stat.S_IRWXU)
        return ["--mpirun", path, "--transports", "local,mpi", "--coordinators", "embedded"]

    def verify(self, *args, expect):
        return self.ask("verify", *AXES, "--placements", "sharded", "--ranks", "2", "--folder", self.new_run(), *args,
                        expect=expect)

    def test_a_case_that_differs_is_told(self):
        # Of another seed, whatever the case says.
        text = self.verify(*self.launcher('exec mpirun "$@" --set model.init_seed=7\n'), expect=1)
        self.assertIn("DIFFERS", text)
        self.assertIn("NOT EQUAL: 1 case differs from the first of its policy", text)

    def test_the_same_launcher_without_a_difference(self):
        text = self.verify(*self.launcher('exec mpirun "$@" --set log.every_steps=3\n'), expect=0)
        self.assertIn("2 cases of 5 steps: EQUAL", text)

    def test_a_case_that_does_not_run_shows_nothing(self):
        text = self.verify(*self.launcher("echo no such host; exit 7\n"), expect=1)
        self.assertIn("exit code 7", text)
        self.assertIn("no such host", text)
        self.assertIn("INCONCLUSIVE", text)

    def test_a_launcher_that_starts_nothing_is_told_once(self):
        mpirun = self.launcher("echo no such host; exit 7\n")[1]
        text = self.ask("verify", *AXES, "--ranks", "1,2,3", "--transports", "mpi", "--mpirun", mpirun, "--folder",
                        self.new_run(), expect=1)
        self.assertEqual(text.count("no such host"), 1, text)
        self.assertIn("did not start the program: exit code 7", text)
        self.assertIn("further cases not run", text)

    def test_a_verify_that_is_stopped_leaves_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number.name):
                there = tempfile.mkdtemp(dir=self.folder.name)
                process = subprocess.Popen(
                    [cli.BLOCKSTEP, "verify", "--policies", "full", "--steps", "100000", "--transports", "local", "--ranks", "1"],
                    env=dict(cli.environment(), TMPDIR=there), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                    stdin=subprocess.DEVNULL)
                self.addCleanup(process.kill)
                while not glob.glob(os.path.join(there, "blockstep-verify-*", "*.log")):
                    self.assertIsNone(process.poll())
                    time.sleep(0.05)
                process.send_signal(number)
                _, said = process.communicate(timeout=120)
                self.assertEqual(process.returncode, 75, said)
                self.assertEqual(said, "blockstep verify: asked to stop\n")
                self.assertEqual(os.listdir(there), [])

    def test_external_is_a_coordinator_that_decided_every_step(self):
        folder = self.new_run()
        self.ask("verify", *AXES, "--placements", "sharded", "--ranks", "1,2", "--coordinators", "external",
                 "--transports", "local", "--folder", folder, expect=0)
        logs = [os.path.join(folder, f"full-{ranks}-sharded-external-local-coordinator/coordinator.log")
                for ranks in (1, 2)]
        self.assertEqual([records(log) for log in logs], [1 + STEPS] * 2)

    def test_a_budget_of_pins_is_a_placement(self):
        folder = self.new_run()
        text = self.ask("verify", "--policies", "blockllm", "--steps", "30", "--placements", "sharded,budget,pinned",
                        "--ranks", "2,3", "--coordinators", "embedded", "--transports", "local", "--folder", folder,
                        expect=0)
        self.assertIn("6 cases of 30 steps: EQUAL", text)
        with open(os.path.join(folder, "blockllm-2-budget-embedded-local", "config.txt"), encoding="utf-8") as f:
            config = f.read()
        self.assertIn("mode: budget", config)
        budget = int(re.search(r"pin_budget_bytes: (\d+)", config)[1])
        for ranks in (2, 3):
            pinned = [self.pinned(folder, ranks, *settings) for settings in (
                ("placement.mode=budget", f"placement.pin_budget_bytes={budget}"), ("placement.mode=pinned",))]
            self.assertGreater(pinned[0], 0)
            self.assertLess(pinned[0], pinned[1])

    def pinned(self, folder, ranks, *settings):
        """Bytes of units that rank 0 keeps whole, by the plan of verify's own model."""
        sets = [f"model.config={folder}/model.json", f"data.train={folder}/text.bin", "data.tokens=16", *settings]
        text = self.ask("estimate", "--json", "--quick", "--ranks", str(ranks),
                        *(a for s in sets for a in ("--set", s)))
        return json.loads(text)["ranks"][0]["phases"][0]["bytes"]["pinned"]


if __name__ == "__main__":
    cli.main()
