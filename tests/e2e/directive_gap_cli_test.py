"""A directive has reached one rank and not the other when the coordinator goes: one waits in a collective while the
other still waits for what to do there. Back within the grace nothing is lost; gone for longer, all ranks save, end
alike and say why once."""
import os
import re

import cli
import coordinated
from coordinated import POLICY
from relay import Relay

STEP = 20
# A call has no more time than the grace: the one that waits for the other's must have more.
SHORT = {"coordinator.grace_s": 5, "runtime.comm_timeout_s": 2}
CASES = (("mpi", 1), ("mpi", 0), ("threads", 1))  # the rank without its directive


class DirectiveGap(coordinated.CoordinatedTest):
    def begin_in_the_gap(self, run, case, folder=None, settings=POLICY, step=STEP):
        """(ranks, coordinator, its folder, relay) when the other rank is in a collective of its step."""
        transport, rank = case
        process, folder, address = self.start(folder=folder)
        relay = Relay(address, rank=rank, step=step)
        self.addCleanup(relay.close)
        training = self.begin(run, relay.address, settings, mpi=transport == "mpi")
        cli.wait_until(relay.gap.is_set, training)
        return training, process, folder, relay

    def kill(self, process):
        process.kill()
        process.wait()

    def checkpoints(self, run):
        return sorted(os.listdir(os.path.join(run, "checkpoints")))

    def report(self, training):
        """What the run says of its end: one line, whoever of its ranks that is."""
        text = self.end(training, expect=75)
        said = re.findall(r"^blockstep: (.*)$", text, re.M)
        self.assertEqual(len(said), 1, text)
        return said[0]

    def why(self, training, case, relay):
        """The report, of the rank without its directive. Silence and the wait itself are bounded by the grace alike; which
        one ends first depends on when the wait began."""
        said = self.report(training)
        self.assertRegex(said, rf"^rank {case[1]}: (no contact with )?coordinator {relay.address} .*step {STEP}\b")
        return said

    def test_back_within_the_grace(self):
        wanted = self.embedded()
        for case in CASES:
            with self.subTest(case=case):
                run = self.new_run()
                training, process, folder, relay = self.begin_in_the_gap(run, case)
                self.kill(process)
                relay.withholds = False
                self.start(folder=folder)
                self.assertIn("term 2", self.said)
                text = self.end(training)
                self.assertEqual((cli.weights_hash(text), cli.blocks(run)), wanted)

    def test_gone_for_longer(self):
        wanted = self.embedded()
        for case in CASES:
            with self.subTest(case=case):
                run, settings = self.new_run(), dict(POLICY, **SHORT)
                training, process, folder, relay = self.begin_in_the_gap(run, case, settings=settings)
                self.kill(process)
                said = self.why(training, case, relay)
                self.assertIn(f"; saved at step {STEP}; continue with --resume auto", said)
                saved = self.checkpoints(run)
                self.assertEqual(len(saved), 1)
                # The same again, before the first step of the run that continues: nothing is written.
                training, process, _, relay = self.begin_in_the_gap(run, case, folder, settings, step=0)
                self.kill(process)
                said = self.why(training, case, relay)
                self.assertNotIn("saved", said)
                self.assertEqual(self.checkpoints(run), saved)
                _, _, address = self.start(folder=folder)
                text = self.end(self.begin(run, address, mpi=case[0] == "mpi"))
                self.assertIn(f"continued at step {STEP}", text)
                self.assertEqual((cli.weights_hash(text), cli.blocks(run)), wanted)

    def test_there_and_silent_to_one_rank(self):
        run = self.new_run()
        training, _, _, relay = self.begin_in_the_gap(run, CASES[0], settings=dict(POLICY, **SHORT))
        self.assertRegex(self.report(training), rf"^rank 1: coordinator {relay.address} responds but sent no directive for "
                                                rf"step {STEP} within 5 s.*; saved at step {STEP}; ")


if __name__ == "__main__":
    cli.main()
