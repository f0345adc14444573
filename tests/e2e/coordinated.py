"""For tests of runs whose coordinator is a process of its own."""
import json
import os
import subprocess
import time

import cli

POLICY = dict(cli.POLICIES["blockllm"], **{"policy.name": "blockllm", "train.steps": 60})


class CoordinatedTest(cli.RunTest):
    def start(self, settings=POLICY, folder=None, flags=(), env=None):
        """A running coordinator: (process, folder, address)."""
        folder = folder or self.new_run()
        args = [cli.BLOCKSTEP, "coordinator", "--folder", folder, *flags]
        for name, value in dict(cli.TINY, **settings).items():
            args += ["--set", f"{name}={value}"]
        process = subprocess.Popen(args, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
                                   env=dict(os.environ, **(env or {})))
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.said = process.stderr.readline()
        self.assertIn("blockstep coordinator: term", self.said)
        with open(os.path.join(folder, "coordinator.json")) as f:
            return process, folder, json.load(f)["address"]

    def begin(self, run, address, settings=POLICY, ranks=2, mpi=False, flags=(), env=None):
        """Ranks on their way, as a process whose output is read by `end`."""
        flags = ["--resume", "auto", "--coordinator", address, *flags]
        return subprocess.Popen(cli.command(run, settings, ranks=ranks, mpi=mpi, flags=flags),
                                env=dict(cli.environment(), **(env or {})), stderr=subprocess.PIPE, text=True,
                                stdin=subprocess.DEVNULL)

    def end(self, process, expect=0):
        text = process.communicate(timeout=120)[1]
        self.assertEqual(process.returncode, expect, text)
        return text

    def wait_for_step(self, run, step):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if len(cli.blocks(run)) >= step:
                    return
            except (OSError, ValueError):
                pass  # not there, or a line half written
            time.sleep(0.02)
        self.fail(f"{run} did not come to step {step}")

    def ask(self, command, *args, expect=0):
        return self.run_program([cli.BLOCKSTEP, command, *args], expect)

    def run_program(self, args, expect=0):
        done = subprocess.run(args, capture_output=True, text=True, timeout=30,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def embedded(self, settings=POLICY):
        run = self.new_run()
        return cli.weights_hash(cli.train(run, settings, ranks=2, mpi=False)), cli.blocks(run)
