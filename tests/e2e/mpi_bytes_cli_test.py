"""Bytes that MPI really carries in a step of the program, counted by a preloaded shim, against the plan's, which
are those of CommBytes: equal to the byte, but for what the plan cannot know. Beyond a step's bytes a run sends:
  once a run    what ranks agree on before and after training; it cancels out between runs of two lengths
  at step 0     16 bytes to each other rank, which the plan counts, having one step
  sharded       rows of the embedding: which ones, the text says; the plan takes a rank's tokens to ask every owner
                for the same number of rows
"""
import json
import math
import os
import subprocess

import cli

SETTINGS = {"policy.name": "full", "train.numerics": "fast"}
FEW, MANY = 4, 9  # steps
KINDS = ("all_gather", "exchange", "reduce_scatter")
HELD = 16


def owned_of(model, tokens, rank, ranks):
    """How many of `tokens` evenly spread ids name rows of the embedding that `rank` owns."""
    rows, quantum = model["vocab_size"], 256 // math.gcd(256, model["hidden_size"])
    each = -(-(-(-rows // quantum)) // ranks) * quantum
    return sum(rank * each <= i * rows // tokens < (rank + 1) * each for i in range(tokens))


class MpiBytes(cli.RunTest):
    def sent(self, placement, ranks, steps):
        """Bytes per rank and kind of a whole run."""
        run = self.new_run()
        settings = dict(SETTINGS, **{"placement.mode": placement, "train.steps": steps})
        env = dict(cli.environment(), LD_PRELOAD=os.environ["MPI_BYTES_SHIM"], MPI_BYTES=run + ".bytes")
        done = subprocess.run(cli.command(run, settings, ranks=ranks), env=env, text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = []
        for rank in range(ranks):
            with open(f"{run}.bytes.{rank}", encoding="utf-8") as f:
                found.append({kind: int(count) for kind, count in map(str.split, f)})
            self.assertEqual(tuple(found[-1]), KINDS)
        return found

    def planned(self, placement, ranks):
        """Bytes per rank of one step that is the first of a run."""
        args = [cli.BLOCKSTEP, "estimate", "--json", "--quick", "--ranks", str(ranks)]
        for name, value in dict(cli.TINY, **SETTINGS, **{"placement.mode": placement}).items():
            args += ["--set", f"{name}={value}"]
        done = subprocess.run(args, text=True, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [r["phases"][0]["sent_bytes"] for r in json.loads(done.stdout)["ranks"]]

    def test_of_a_step_are_the_plans(self):
        with open(cli.TINY["model.config"], encoding="utf-8") as f:
            model = json.load(f)
        row_bytes = 4 * model["hidden_size"]
        tokens, slots = cli.TINY["data.tokens"], cli.TINY["batch.slots"]
        for placement in ("sharded", "pinned"):
            for ranks in (2, 3):
                others, micro_steps = ranks - 1, slots // ranks
                self.assertEqual(slots % ranks, 0)
                few, many = (self.sent(placement, ranks, n) for n in (FEW, MANY))
                for rank, planned in enumerate(self.planned(placement, ranks)):
                    with self.subTest(placement=placement, ranks=ranks, rank=rank):
                        step = {kind: (many[rank][kind] - few[rank][kind]) / (MANY - FEW) for kind in KINDS}
                        # The plan's ids are spread evenly: each other rank asks for the rows of those that this rank
                        # owns, and this rank tells the others the rest.
                        owned = owned_of(model, tokens, rank, ranks)
                        asked = micro_steps * (others * owned * row_bytes + (tokens - owned) * 4)
                        asked = asked if placement == "sharded" else 0
                        print(f"{placement}, rank {rank} of {ranks}: a step really sends {step}, planned {planned}",
                              flush=True)
                        self.assertEqual(step["all_gather"] + step["reduce_scatter"],
                                         planned - HELD * others - asked)
                        most = (others * row_bytes + 4) * tokens * micro_steps if placement == "sharded" else 0
                        self.assertLessEqual(step["exchange"], most)
                        self.assertEqual(step["exchange"] > 0, placement == "sharded")


if __name__ == "__main__":
    cli.main()
