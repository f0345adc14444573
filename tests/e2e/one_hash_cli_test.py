"""One hash of the program over MPI and gRPC for what `blockstep verify` does not vary: placement.mode budget,
policy.embedding_split, policy.mode paper with a coordinator of its own. 1, 2 and 3 ranks. placement.mode node: groups of
ranks, a resume on other groups, and what is refused."""
import json
import subprocess

import cli
import coordinated

STEPS = 40
# Of tiny_model.json over two or three ranks: some units fit and some do not, and not the same ones.
BUDGET = {"placement.mode": "budget", "placement.pin_budget_bytes": 160_000}
SPLIT = {"policy.name": "badam", "policy.embedding_split": 3, "policy.block_steps": 4, "policy.order": "ascending"}
PAPER = dict(cli.POLICIES["blockllm"], **{"policy.name": "blockllm", "policy.mode": "paper"})


def groups_of(ranks):
    return {"placement.mode": "node", "placement.ranks_per_group": ranks}


class OneHash(coordinated.CoordinatedTest):
    def trained(self, settings, ranks):
        """The weights' hash and the block of every step."""
        run = self.new_run()
        text = cli.train(run, dict(settings, **{"train.steps": STEPS}), ranks=ranks)
        return cli.weights_hash(text), cli.blocks(run)

    def pinned(self, settings, ranks):
        """Bytes that rank 0 keeps of whole units, as planned."""
        args = [cli.BLOCKSTEP, "estimate", "--json", "--quick", "--ranks", str(ranks)]
        for name, value in dict(cli.TINY, **settings).items():
            args += ["--set", f"{name}={value}"]
        done = subprocess.run(args, text=True, capture_output=True, timeout=cli.LAST_RESORT_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["ranks"][0]["phases"][0]["bytes"]["pinned"]

    def test_a_budget_of_pins(self):
        wanted = self.trained({}, 1)
        for ranks in (1, 2, 3):
            with self.subTest(ranks=ranks):
                self.assertEqual(self.trained(BUDGET, ranks), wanted)
                if ranks > 1:
                    self.assertGreater(self.pinned(BUDGET, ranks), 0)
                    self.assertLess(self.pinned(BUDGET, ranks), self.pinned({"placement.mode": "pinned"}, ranks))

    def test_blocks_of_rows(self):
        wanted = self.trained(SPLIT, 1)
        labels = {block for _, _, block, _ in wanted[1]}
        self.assertLessEqual({"embedding rows [0, 640)", "embedding rows [640, 1344)", "embedding rows [1344, 2048)"},
                             labels)
        for placement in ("sharded", "budget"):
            for ranks in (2, 3):
                with self.subTest(ranks=ranks, placement=placement):
                    self.assertEqual(self.trained(dict(SPLIT, **(BUDGET if placement == "budget" else {})), ranks),
                                     wanted)

    def test_groups_of_ranks(self):
        wanted = self.trained(SPLIT, 1)
        for ranks, group in ((2, 1), (4, 2)):
            with self.subTest(ranks=ranks, group=group):
                self.assertEqual(self.trained(dict(SPLIT, **groups_of(group)), ranks), wanted)
        # Saved by the first of two groups, continued by three groups of one rank, ended without groups. The learning
        # rate must not depend on where the run ends.
        still = dict(SPLIT, **{"optimizer.schedule.shape": "constant"})
        wanted = self.trained(still, 1)
        run = self.new_run()
        flags = ["--resume", "auto", "--allow-config-change"]
        cli.train(run, dict(still, **groups_of(2), **{"train.steps": 14}), ranks=4)
        cli.train(run, dict(still, **groups_of(1), **{"train.steps": 27}), ranks=3, flags=flags)
        text = cli.train(run, dict(still, **{"train.steps": STEPS}), ranks=2, flags=flags)
        self.assertEqual(cli.weights_hash(text), wanted[0])

    def test_groups_that_do_not_fit(self):
        text = cli.train(self.new_run(), dict(SPLIT, **groups_of(2)), ranks=3, expect=2)
        self.assertIn("placement.ranks_per_group: expected a divisor of the number of ranks (3), got 2", text)
        # One machine: one group of all ranks.
        self.assertEqual(self.trained(dict(SPLIT, **{"placement.mode": "node"}), 2), self.trained(SPLIT, 1))

    def test_the_papers_mode_through_grpc(self):
        settings = dict(PAPER, **{"train.steps": STEPS})
        wanted = self.trained(PAPER, 1)
        repaired = self.trained(dict(PAPER, **{"policy.mode": "repaired"}), 1)
        self.assertNotEqual(wanted, repaired)
        self.assertGreater(len({block for _, _, block, _ in wanted[1]}), 2)
        for ranks in (1, 2, 3):
            with self.subTest(ranks=ranks):
                process, _, address = self.start(settings)
                run = self.new_run()
                text = self.end(self.begin(run, address, settings, ranks=ranks, mpi=True))
                self.assertEqual((cli.weights_hash(text), cli.blocks(run)), wanted)
                self.assertEqual(process.wait(timeout=cli.LAST_RESORT_S), 0)
                self.assertIn("run finished", process.stderr.read())


if __name__ == "__main__":
    cli.main()
