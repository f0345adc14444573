"""Stop and continue: the same hash as a run that was never interrupted, on other numbers of ranks too."""
import os
import re
import signal
import subprocess

import cli


class Resume(cli.RunTest):
    settings = dict(cli.POLICIES["blockllm"],
                    **{"policy.name": "blockllm", "train.steps": 60, "checkpoint.keep": 0})

    def whole(self):
        run = self.new_run()
        return cli.weights_hash(cli.train(run, self.settings, ranks=2)), cli.blocks(run)

    def test_from_every_kind_of_step(self):
        """Checkpoints before, at and after switches; continued from each one as a run of its own."""
        run = self.new_run()
        text = cli.train(run, dict(self.settings, **{"checkpoint.every_steps": 5}), ranks=2)
        wanted = cli.weights_hash(text)
        rows = cli.blocks(run)
        switches = [b[0] for a, b in zip(rows, rows[1:]) if a[1] != b[1]]
        self.assertGreater(len(switches), 2)
        for i, step in enumerate(range(5, 60, 5)):
            again = self.new_run()
            checkpoint = os.path.join(run, "checkpoints", f"step-{step:08d}")
            found = cli.train(again, self.settings, ranks=1 + i % 4,
                              flags=["--resume", checkpoint])
            self.assertEqual(cli.weights_hash(found), wanted,
                             f"continued at step {step} on {1 + i % 4} ranks; switches at {switches}")
            self.assertEqual(cli.blocks(again), [r for r in rows if r[0] >= step])

    def test_to_another_length(self):
        """A run of 8 steps, made 9 and then 16 long, ends as one that was 16 long from the start."""
        for name, policy in cli.POLICIES.items():
            settings = dict(policy, **{"policy.name": name, "checkpoint.keep": 0,
                                       "optimizer.schedule.shape": "constant"})
            whole, run = self.new_run(), self.new_run()
            wanted = cli.weights_hash(cli.train(whole, dict(settings, **{"train.steps": 16}), ranks=2))
            flags = ["--resume", "auto", "--allow-config-change"]
            for steps in (8, 9, 16):
                text = cli.train(run, dict(settings, **{"train.steps": steps}), ranks=2, flags=flags)
            self.assertEqual(cli.weights_hash(text), wanted, name)
            self.assertEqual([row[:2] for row in cli.blocks(run)],
                             [row[:2] for row in cli.blocks(whole)], name)

    def test_signal_saves_and_auto_continues(self):
        """mpirun gets the signal and passes it on, while rank 0 is stopped where it has announced a step."""
        wanted, rows = self.whole()
        run = self.new_run()
        for ranks, stop in ((3, True), (2, True), (1, False)):
            fault = {"LD_PRELOAD": os.environ["FAULT_SHIM"], "FAULT_CALL": "announce", "FAULT_RANK": "0",
                     "FAULT_AT": "15", "FAULT_SIGNAL": str(int(signal.SIGSTOP))} if stop else {}
            settings = dict(self.settings, **{"coordinator.lease_s": 300})
            process = subprocess.Popen(cli.command(run, settings, ranks=ranks, flags=["--resume", "auto"]),
                                       env=dict(cli.environment(), **fault), stderr=subprocess.PIPE, text=True,
                                       stdin=subprocess.DEVNULL)
            self.addCleanup(process.kill)
            if stop:
                cli.wait_until(lambda: any(cli.state_of(pid) == "T" for pid in cli.ranks_of(process.pid)), process)
                stopped = [pid for pid in cli.ranks_of(process.pid) if cli.state_of(pid) == "T"]
                self.assertEqual(len(stopped), 1)
                for mpirun in cli.children_of(process.pid):
                    os.kill(mpirun, signal.SIGUSR1)
                cli.wait_until(lambda: cli.pending(stopped[0], signal.SIGUSR1), process)
                os.kill(stopped[0], signal.SIGCONT)
            text = process.stderr.read()
            process.stderr.close()
            code = process.wait(timeout=cli.LAST_RESORT_S)
            self.assertEqual(code, 75 if stop else 0, text)
            self.assertEqual("continue with --resume auto" in text, stop, text)
        self.assertEqual(cli.weights_hash(text), wanted)
        self.assertEqual(cli.blocks(run), rows)

    def test_under_another_policy(self):
        """What another policy left is of no use: the new one begins there, and goes on from its own checkpoints."""
        run = self.new_run()
        cli.train(run, dict(self.settings, **{"train.steps": 12}), ranks=2)
        for policy, steps in (("badam", 30), ("blockllm", 30), ("full", 20)):
            settings = dict(cli.POLICIES[policy], **{"policy.name": policy, "train.steps": steps,
                                                     "checkpoint.every_steps": 5, "checkpoint.keep": 0})
            whole, parts = self.new_run(), self.new_run()
            text = cli.train(whole, settings, ranks=2,
                             flags=["--resume", run, "--allow-config-change"])
            self.assertEqual(f"policy state reset: incompatible (policy {policy}, step 12)" in text, policy != "blockllm", text)
            self.assertIn("blocks since step 12 sha256", text)
            self.assertEqual([r[0] for r in cli.blocks(whole)], list(range(12, steps)))
            again = cli.train(parts, settings, ranks=3,
                              flags=["--resume", os.path.join(whole, "checkpoints", "step-00000015")])
            self.assertNotIn("policy state reset", again)
            self.assertEqual(cli.weights_hash(again), cli.weights_hash(text))
            self.assertEqual(cli.blocks(parts), [r for r in cli.blocks(whole) if r[0] >= 15])

    def stopped_by(self, number, target, ranks, mpi):
        """A run that gets the signal `number` at `target`, a rank's process or None for the one that was
        started, once it has shown a step; its exit code and what it said."""
        run = self.new_run()
        args = cli.command(run, dict(self.settings, **{"train.steps": 100000}), ranks=ranks, mpi=mpi)
        if ranks == 1:
            args = args[args.index(cli.BLOCKSTEP):]  # MPI without mpirun
        process = subprocess.Popen(args, env=cli.environment(), stderr=subprocess.PIPE, text=True,
                                   stdin=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        text = cli.read_until(process, lambda said: re.search(r"^step .*/100000.*\n\Z", said, re.M))
        pid = process.pid
        if target is not None:
            found = sorted(cli.ranks_of(process.pid))
            self.assertEqual(len(found), ranks)
            pid = found[target]
        os.kill(pid, number)
        text += process.stderr.read()
        process.stderr.close()
        return run, process.wait(timeout=cli.LAST_RESORT_S), text

    def test_signals_save_and_stop(self):
        cases = [(s, None, 2, False) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
        cases += [(signal.SIGTERM, 1, 3, True), (signal.SIGINT, 2, 3, True), (signal.SIGINT, 0, 3, True)]
        cases += [(signal.SIGTERM, None, 1, True), (signal.SIGINT, None, 1, True)]
        for number, target, ranks, mpi in cases:
            with self.subTest(signal=number.name, target=target):
                run, code, text = self.stopped_by(number, target, ranks, mpi)
                self.assertEqual(code, 75, text)
                said = re.findall(r"^blockstep: asked to stop; saved at step (\d+); continue with --resume auto", text, re.M)
                self.assertEqual(len(said), 1, text)
                notice = "blockstep: asked to stop; finishing the step in hand; Ctrl-C again aborts\n"
                self.assertEqual(text.count(notice), 1 if target in (None, 0) else 0, text)
                self.assertEqual(os.listdir(os.path.join(run, "checkpoints")), [f"step-{int(said[0]):08d}"])
                self.assertEqual(cli.blocks(run)[-1][0], int(said[0]) - 1)

    def test_an_existing_run_is_not_overwritten(self):
        run = self.new_run()
        short = dict(self.settings, **{"train.steps": 2})
        cli.train(run, short)
        before = os.path.getmtime(os.path.join(run, "metrics.jsonl"))
        done = subprocess.run(cli.command(run, short, mpi=False), env=cli.environment(), text=True,
                              capture_output=True, timeout=cli.LAST_RESORT_S, stdin=subprocess.DEVNULL)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("--resume auto", done.stderr)
        self.assertEqual(os.path.getmtime(os.path.join(run, "metrics.jsonl")), before)


if __name__ == "__main__":
    cli.main()
