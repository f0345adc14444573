"""Evaluations: in metrics.jsonl and TensorBoard once each, at the number of steps done, over any chain of resumes;
`blockstep eval` sees the text as the run did, on any number of ranks."""
import glob
import json
import os
import shutil
import struct
import subprocess
import sys

import cli
from bad_input import BAD_INPUT, NON_FINITE, USAGE, BadInputTest, read, tokens, write

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
                              capture_output=True, timeout=cli.LAST_RESORT_S, env=cli.environment())
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
        done = subprocess.run([cli.BLOCKSTEP, "export", self.run_folder, exported], check=True, capture_output=True, text=True)
        self.assertRegex(done.stdout, rf"^exported {self.run_folder}/checkpoints/step-\d+ to {exported}: \d files, [\d.]+ MiB\n$")
        same(exported, "--tokens", "16", "--document-mask", "true")
        other(exported, "--tokens", "16")
        self.refused("longer than the model", [cli.BLOCKSTEP, "eval", exported, VAL], USAGE, "data.tokens: expected at most 128")

    def over(self, ranks, weights, *flags, slots=7, micro_slots=3):
        """The JSON text of `mpirun -n ranks blockstep eval`; 0: without mpirun."""
        args = [cli.BLOCKSTEP, "eval", weights, VAL, "--slots", str(slots), "--micro-slots", str(micro_slots), "--json",
                "--threads", "1", *flags]
        if ranks > 0:
            args = ["timeout", "-k", "5", str(cli.LAST_RESORT_S), "mpirun", "-n", str(ranks), *args]
        done = subprocess.run(args, text=True, capture_output=True, timeout=90, env=cli.environment())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_the_same_bits_over_ranks(self):
        """7 sequences in micro-steps of 3: every number of ranks cuts them in another way."""
        for length in ("16", "64"):  # a part of a row tile, a whole one
            alone = self.over(0, self.good, "--tokens", length)
            self.assertEqual(json.loads(alone)["tokens"], 7 * int(length))
            for ranks in (1, 2, 3):
                for placement in ("sharded", "pinned"):
                    with self.subTest(tokens=length, ranks=ranks, placement=placement):
                        self.assertEqual(self.over(ranks, self.good, "--tokens", length, "--placement", placement), alone)
        # A rank without a sequence.
        self.assertEqual(self.over(3, self.good, slots=2), self.over(0, self.good, slots=2))

    def test_the_bits_of_training(self):
        cli.train(self.run_folder, dict(self.settings, **{"eval.slots": 7}), mpi=False, ranks=2)
        self.assertEqual(json.loads(self.over(2, self.run_folder))["loss"], self.evaluations()[4])

    def test_one_message_of_all_ranks(self):
        over = ["timeout", "-k", "5", str(cli.LAST_RESORT_S), "mpirun", "-n", "2", cli.BLOCKSTEP, "eval"]
        self.refused("no such weights", [*over, self.path("none"), VAL], BAD_INPUT,
                     "blockstep eval: rank 0: weights: " + self.path("none") + " does not exist")
        self.refused("text of another tokenizer", [*over, self.good, self.path("other.bin", tokens([1, 2, 60000] * 300))],
                     BAD_INPUT, "blockstep eval: rank 0: token file " + self.path("other.bin"))

    def test_a_launcher_of_another_mpi_is_found_out(self):
        """Each such process would be a world of its own, and print the whole evaluation."""
        for size, rank in (("PMI_SIZE", "PMI_RANK"), ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID")):
            env = {k: v for k, v in cli.environment().items() if not k.startswith(("OMPI_COMM", "PMI_", "SLURM_"))}
            done = subprocess.run([cli.BLOCKSTEP, "eval", self.good, VAL, "--slots", "4"], text=True, capture_output=True,
                                  timeout=cli.LAST_RESORT_S, env=dict(env, **{size: "3", rank: "1"}))
            self.assertEqual(done.returncode, 5, done.stdout + done.stderr)
            self.assertIn(f"expected 3 ranks ({size}), got 1", done.stderr)

    def test_a_rank_that_does_not_come(self):
        env = dict(cli.environment(), LD_PRELOAD=os.environ["FAULT_SHIM"], FAULT_CALL="product", FAULT_RANK="1",
                   FAULT_AT="1", FAULT_SIGNAL="0")  # it never returns
        over = ["timeout", "-k", "5", str(cli.LAST_RESORT_S), "mpirun", "-n", "2", cli.BLOCKSTEP, "eval", self.good, VAL,
                "--slots", "4", "--threads", "1", "--comm-timeout", "2"]
        done = subprocess.run(over, text=True, capture_output=True, env=env)
        self.assertEqual(done.returncode, 5, done.stdout + done.stderr)
        # A machine that is slow enough does not come so far.
        self.assertRegex(done.stderr, r"timed out after 2000 ms waiting for rank 1|timed out after 2 s: ")

    def test_a_loss_that_is_no_number(self):
        folder = shutil.copytree(self.checkpoint, self.path("nan"))
        path = os.path.join(folder, "model.safetensors")
        write(path, read(path)[:-4] + struct.pack("<f", float("nan")))
        self.refused("NaN", [cli.BLOCKSTEP, "eval", folder, VAL, "--slots", "4", "--json"], NON_FINITE,
                     "blockstep eval: weights " + folder, "expected a finite loss over 64 tokens, got ")


if __name__ == "__main__":
    cli.main()
