"""One hash: 100 steps give one SHA-256 of the weights, one loss sequence and one block sequence for every
number of ranks, sharded or pinned, as threads or under mpirun, with the coordinator on real gRPC."""
import cli


class OneHash(cli.RunTest):
    def check(self, policy):
        reference = None
        settings = dict(cli.POLICIES[policy], **{"policy.name": policy})
        for mpi in (False, True):
            for ranks in (1, 2, 3, 4):
                for placement in ("sharded", "pinned"):
                    if not mpi and ranks == 3:
                        continue  # threads: in one_hash_test; here one of each kind
                    run = self.new_run()
                    text = cli.train(run, dict(settings, **{"placement.mode": placement}),
                                     ranks=ranks, mpi=mpi)
                    found = (cli.weights_hash(text), cli.blocks(run))
                    self.assertEqual(len(found[1]), 100)
                    reference = reference or found
                    where = f"{policy}, {'mpi' if mpi else 'threads'}, {ranks} ranks, {placement}"
                    self.assertEqual(found[0], reference[0], where)
                    self.assertEqual(found[1], reference[1], where)
        phases = {row[1] for row in reference[1]}
        self.assertGreater(len(phases), 0 if policy == "full" else 1, "the policy never switched")
        self.assertLess(reference[1][-1][3], reference[1][0][3], "it did not learn")

    def test_full(self):
        self.check("full")

    def test_badam(self):
        self.check("badam")

    def test_blockllm(self):
        self.check("blockllm")


if __name__ == "__main__":
    cli.main()
