"""What a run does with its folder: one run at a time holds it, one that was killed blocks nobody; a disk that no
longer answers is named while it is waited for and ends the run by a documented code."""
import os
import re
import subprocess

import cli


class RunFolder(cli.RunTest):
    settings = dict(cli.POLICIES["badam"], **{"policy.name": "badam", "checkpoint.every_steps": 5})

    def start(self, run, settings, **kwargs):
        return subprocess.Popen(cli.command(run, settings, **kwargs), env=cli.environment(), text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, start_new_session=True)

    def test_two_runs_in_one_folder(self):
        run = self.new_run()
        settings = dict(self.settings, **{"train.steps": 100000, "coordinator.lease_s": 2})
        resume = ["--resume", "auto"]
        first = self.start(run, settings, mpi=False, flags=resume)
        try:
            cli.wait_until(lambda: os.path.isdir(os.path.join(run, "checkpoints/step-00000005")), first)
            for kwargs in ({"mpi": False}, {"ranks": 2}):
                second = subprocess.run(cli.command(run, settings, flags=resume, **kwargs),
                                        env=cli.environment(), text=True, capture_output=True,
                                        timeout=60, stdin=subprocess.DEVNULL)
                self.assertEqual(second.returncode, 4, second.stderr)
                self.assertRegex(second.stderr, rf"run folder {run}: in use by "
                                 rf"process {first.pid} on \S+ since .* \(lock {run}/run.lock")
                waits = re.findall(rf"^blockstep: waiting for the process that holds run folder {run}, at most 7 s: "
                                   rf"process {first.pid} on \S+ since ", second.stderr, re.M)
                self.assertEqual(len(waits), 1, second.stderr)
                self.assertIsNone(first.poll())
        finally:
            first.kill()
            first.communicate()
        # The lock's file is still there, the lock is not.
        self.assertTrue(os.path.exists(os.path.join(run, "run.lock")))
        newest = max(n for n in os.listdir(os.path.join(run, "checkpoints")) if not n.endswith(".tmp"))
        settings["train.steps"] = int(newest.split("-")[1]) + 2
        done = subprocess.run(cli.command(run, settings, mpi=False, flags=[
            *resume, "--allow-config-change"]), env=cli.environment(), text=True,
            capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreaterEqual(cli.first_step(done.stderr), 5)

    def stuck(self, at, rank, **settings):
        """stderr of a run in which an fsync of a save never returns."""
        run = self.new_run()
        env = dict(cli.environment(), LD_PRELOAD=os.environ["FAULT_SHIM"], FAULT_CALL="save",
                   FAULT_RANK=str(rank), FAULT_AT=str(at), FAULT_SIGNAL="0")
        fields = dict(self.settings, **{"checkpoint.disk_timeout_s": 1.5}, **settings)
        done = subprocess.run(cli.command(run, fields, ranks=2), env=env, text=True,
                              capture_output=True, timeout=cli.LAST_RESORT_S + 30, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 4, done.stderr)
        said = re.findall(rf"^blockstep: rank {rank}: step (\d+): training has waited (\S+) s for the save "
                          rf"of step (\d+): fsync {run}/checkpoints/\S+ \(for ", done.stderr, re.M)
        self.assertGreaterEqual(len(said), 2, done.stderr)  # a word first, the end later
        self.assertIn("checkpoint.disk_timeout_s is 1.5 s", done.stderr)
        self.assertIn("continue with --resume auto", done.stderr)
        return run, [(int(step), int(save)) for step, _, save in said]

    def test_a_disk_that_does_not_answer(self):
        # Beside training: it goes on to the next save, which waits.
        run, said = self.stuck(at=6, rank=1, **{"train.steps": 30})
        step, save = said[-1]
        self.assertEqual(step, save + 5)
        self.assertGreater(save, 5)
        # What was announced before is there.
        text = cli.train(run, dict(self.settings, **{"train.steps": 30}), ranks=1,
                         flags=["--resume", "auto"])
        self.assertEqual(cli.first_step(text), save - 5)
        # The last save of a run, which training always waits for.
        _, said = self.stuck(at=1, rank=1, **{"checkpoint.every_steps": 0, "train.steps": 3})
        self.assertEqual(said[-1], (3, 3))


if __name__ == "__main__":
    cli.main()
