"""Evaluations: in metrics.jsonl and TensorBoard once each, at the number of steps done, over any chain of resumes;
`blockstep eval` sees the text as the run did."""
import glob
import json
import os
import shutil
import struct
import subprocess
import sys

import cli
from bad_input import NON_FINITE, USAGE, BadInputTest, read, write

VAL = os.path.join(cli.DATA, "val.bin")
READ_EVENTS = os.path.join(cli.SOURCE, "tests/launcher/train/metrics/read_events.py")


class Eval(BadInputTest):
    settings = {"train.steps": 4, "data.val": VAL, "data.document_mask": "true", "eval.every_steps": 2,
                "eval.slots": 40, "log.tensorboard": "true", "optimizer.schedule.shape": "constant"}

    def rows(self):
        with open(os.path.join(self.run_folder, "metrics.jsonl")) as f:
            return [json.loads(line) for line in f]

    def evaluations(self):
        return {r["step"]: r["eval/loss"] for r in self.rows() if "eval/loss" in r}

    def newest_events(self):
        files = glob.glob(os.path.join(self.run_folder, "tensorboard", "*"))
        newest = max(files, key=lambda path: int(path.rsplit(".", 1)[1]))
        done = subprocess.run([sys.executable, READ_EVENTS, newest], capture_output=True, text=True, check=True)
        return [line.split()[:2] for line in done.stdout.splitlines()]

    def eval(self, weights, *flags):
        done = subprocess.run([cli.BLOCKSTEP, "eval", weights, VAL, "--slots", "40", "--json", *flags], text=True,
                              capture_output=True, timeout=60, env=cli.environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["loss"]

    def test_steps_of_evaluations(self):
        cli.train(self.run_folder, self.settings, mpi=False)
        kinds = [(r["step"], "eval" if "eval/loss" in r else "step") for r in self.rows() if "save/step" not in r]
        first = [(0, "eval"), (0, "step"), (1, "step"), (2, "eval"), (2, "step"), (3, "step"), (4, "eval")]
        self.assertEqual(kinds, first)
        evals = [step for step, word in self.newest_events() if word.startswith("eval/loss")]
        self.assertEqual(evals, ["0", "2", "4"])
        before = self.evaluations()
        cli.train(self.run_folder, dict(self.settings, **{"train.steps": 6}), mpi=False,
                  flags=["--resume", "auto", "--allow-config-change"])
        kinds = [(r["step"], "eval" if "eval/loss" in r else "step") for r in self.rows() if "save/step" not in r]
        self.assertEqual(kinds, [*first, (4, "step"), (5, "step"), (6, "eval")])
        self.assertEqual({s: v for s, v in self.evaluations().items() if s <= 4}, before)
        evals = [step for step, word in self.newest_events() if word.startswith("eval/loss")]
        self.assertEqual(evals, ["4", "6"])

    def test_eval_sees_text_as_the_run_did(self):
        cli.train(self.run_folder, self.settings, mpi=False)
        wanted = self.evaluations()[4]
        same = lambda *args: self.assertAlmostEqual(self.eval(*args), wanted, delta=2e-6)
        other = lambda *args: self.assertGreater(abs(self.eval(*args) - wanted), 1e-4)
        same(self.run_folder)
        same(os.path.join(self.run_folder, "checkpoints/step-00000004"))
        other(self.run_folder, "--tokens", "32")
        other(self.run_folder, "--document-mask", "false")
        exported = self.path("exported")
        subprocess.run([cli.BLOCKSTEP, "export", self.run_folder, exported], check=True, capture_output=True)
        same(exported, "--tokens", "16", "--document-mask", "true")
        other(exported, "--tokens", "16")
        self.refused("longer than the model", [cli.BLOCKSTEP, "eval", exported, VAL], USAGE, "data.tokens: expected at most 128")

    def test_a_loss_that_is_no_number(self):
        folder = shutil.copytree(self.checkpoint, self.path("nan"))
        path = os.path.join(folder, "model.safetensors")
        write(path, read(path)[:-4] + struct.pack("<f", float("nan")))
        self.refused("NaN", [cli.BLOCKSTEP, "eval", folder, VAL, "--slots", "4", "--json"], NON_FINITE,
                     "blockstep eval: weights " + folder, "expected a finite loss over 64 tokens, got ")


if __name__ == "__main__":
    cli.main()
