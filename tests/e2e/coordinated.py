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

    def gate(self, *at, mpi=False):
        """Holds ranks (threads, or processes under mpirun) when they have announced their at-th step, counted from
        their start. The coordinator goes on meanwhile, and so do heartbeats."""
        return cli.Gate(self.folder.name, *at, rank=0 if mpi else "none")

    def end(self, process, expect=0):
        if hasattr(process, "said"):  # communicate would lose what was read ahead
            text = process.said + process.stderr.read()
            process.stderr.close()
            process.wait(timeout=cli.LAST_RESORT_S)
        else:
            text = process.communicate(timeout=cli.LAST_RESORT_S)[1]
        self.assertEqual(process.returncode, expect, text)
        return text

    def wait_until_said(self, process, text):
        process.said = getattr(process, "said", "")
        while text not in process.said:
            line = process.stderr.readline()
            self.assertTrue(line, f"ended without saying {text}:\n{process.said}")
            process.said += line

    def wait_for_step(self, run, step, process=None):
        """Until so many steps are announced. Under a gate it is no race."""
        def come():
            try:
                return len(cli.blocks(run)) >= step
            except (OSError, ValueError):
                return False  # not there, or a line half written
        cli.wait_until(come, process)

    def heartbeats(self, run):
        """Returns when every rank has asked the coordinator and had its answer: an order given before is known to it.
        Ranks that are held at a gate make no other calls than heartbeats, one after the other."""
        for _ in range(3):
            since = time.monotonic()

            def heard():
                now = time.monotonic()
                ranks = json.loads(self.ask("status", run, "--json"))["ranks"]
                return all(int(rank["silent_ms"]) / 1000 < now - since for rank in ranks)
            cli.wait_until(heard)

    def ask(self, command, *args, expect=0):
        return self.run_program([cli.BLOCKSTEP, command, *args], expect)

    def run_program(self, args, expect=0):
        done = subprocess.run(args, capture_output=True, text=True, timeout=120,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def embedded(self, settings=POLICY):
        run = self.new_run()
        return cli.weights_hash(cli.train(run, settings, ranks=2, mpi=False)), cli.blocks(run)
