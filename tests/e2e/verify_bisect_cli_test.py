"""blockstep verify: equal cases, a policy that never switches, and a program with a planted mistake, which --bisect
finds. verify_pairwise runs the matrix."""
import os
import re
import subprocess

import cli

BROKEN = os.environ["BROKEN_SWIGLU"]
ONE, TWO = "full-1-sharded-embedded-mpi", "full-2-sharded-embedded-mpi"


class Verify(cli.RunTest):
    def verify(self, code, *args, program=cli.BLOCKSTEP, transport="mpi", steps=3):
        """What it prints, stderr after stdout."""
        command = [program, "verify", "--ranks", "1,2", "--placements", "sharded", "--coordinators", "embedded",
                   "--transports", transport, "--steps", str(steps), "--folder", self.new_run(), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=cli.environment(),
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_equal(self):
        text = self.verify(0, "--policies", "full", transport="local")
        self.assertIn("2 cases of 3 steps: EQUAL: one hash of the weights, one of the state", text)
        rows = re.findall(r"^full .* ([0-9a-f]{16}) ([0-9a-f]{16}) ([0-9a-f]{16})$", text, re.M)
        self.assertEqual(len(rows), 2, text)
        self.assertEqual(rows[0], rows[1])
        self.assertEqual(len(set(rows[0])), 3)

    def test_a_policy_that_never_switches(self):
        text = self.verify(1, "--policies", "badam", transport="local")
        said = "FAILED: policy badam never switched: expected at least 2 active sets, got 1; raise --steps"
        self.assertEqual(text.count(said), 2, text)
        self.assertIn("INCONCLUSIVE; 2 failed", text)

    def test_cases_that_agree(self):
        text = self.verify(0, "--bisect", ONE.replace("mpi", "local"), TWO.replace("mpi", "local"))
        self.assertRegex(text, r"bisect full-1-\S+ full-2-\S+: all \d{4,} digests of 3 steps agree")

    def test_a_planted_mistake_is_named(self):
        # 7 slots a step: rank 1 of 2 has slots 3 to 6, and is wrong from its first swiglu on.
        text = self.verify(1, "--policies", "full", "--bisect", program=BROKEN, steps=2)
        self.assertIn("NOT EQUAL: 1 case differs from the first of its policy", text)
        self.assertRegex(text, f"bisect {ONE} {TWO}: first difference: step 0, slot 3, forward layer 0: swiglu out\n"
                               f"  {ONE}: digest [0-9a-f]{{16}} of 1280 values, rank 0\n"
                               f"  {TWO}: digest [0-9a-f]{{16}} of 1280 values, rank 1\n")

    def test_names_of_cases(self):
        self.assertIn("--bisect: expected two cases or none, got one", self.verify(2, "--bisect", ONE))
        self.assertIn("--bisect: expected a case as full-2-sharded-embedded-mpi, got 'full-two'",
                      self.verify(2, "--bisect", ONE, "full-two"))


if __name__ == "__main__":
    cli.main()
