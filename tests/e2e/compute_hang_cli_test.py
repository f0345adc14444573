"""A product that never returns, on the only rank or on one of two: the run ends with a report and continues."""
import os
import subprocess

import cli

LIMIT_S = 4


class ComputeHangs(cli.RunTest):
    settings = dict(cli.POLICIES["badam"], **{
        "policy.name": "badam", "train.steps": 40, "checkpoint.every_steps": 5, "coordinator.lease_s": 2,
        "coordinator.grace_s": 2, "runtime.compute_timeout_s": LIMIT_S})

    def test_a_rank_that_computes_for_ever_says_so(self):
        wanted = cli.weights_hash(cli.train(self.new_run(), self.settings, ranks=1))
        for ranks, rank in ((1, 0), (2, 1)):
            with self.subTest(ranks=ranks):
                run = self.new_run()
                env = dict(cli.environment(), LD_PRELOAD=os.environ["FAULT_SHIM"], FAULT_CALL="product",
                           FAULT_RANK=str(rank), FAULT_AT="3000", FAULT_SIGNAL="0")
                done = subprocess.run(cli.command(run, self.settings, ranks=ranks), env=env, text=True,
                                      capture_output=True, stdin=subprocess.DEVNULL, timeout=150)
                self.assertEqual(done.returncode, 5, done.stderr)
                who = "" if ranks == 1 else f"rank {rank}: "
                self.assertRegex(done.stderr, rf'blockstep: {who}step \d+: no progress in compute for [\d.]+ s; '
                                              rf'last call .* \(call \d+\); runtime.compute_timeout_s is {LIMIT_S} s\n')
                self.assertIn(f"checkpoints in {run} are intact", done.stderr)
                self.assertTrue(os.listdir(os.path.join(run, "checkpoints")), done.stderr)
                again = cli.train(run, self.settings, ranks=ranks, flags=["--resume", "auto"])
                self.assertEqual(cli.weights_hash(again), wanted)


if __name__ == "__main__":
    cli.main()
