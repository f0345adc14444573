"""Checkpoints and exports of every golden model and of a preset, trained here on two ranks: transformers loads them as
they lie, bit for bit (check_transformers.py), and its loss on the same tokens is what `blockstep eval` says.

  tests/golden/real_transformers.sh sets up what this needs.
"""
import json
import math
import os
import struct
import subprocess
import sys
import unittest

import torch
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../e2e"))
import cli  # noqa: E402

TOKENS, SLOTS, RANKS = 16, 40, 2
# fp32 on both sides; the order of sums differs.
RELATIVE = 1e-5


class Transformers(cli.RunTest):
    def write_tokens(self, vocab):
        ids = [i * i % vocab for i in range(SLOTS * TOKENS + 1)]
        path = os.path.join(self.folder.name, f"tokens{vocab}.bin")
        with open(path, "wb") as f:
            f.write(struct.pack("<3i", 20240520, 1, len(ids)).ljust(1024, b"\0"))
            f.write(struct.pack(f"<{len(ids)}H", *ids))
        return path, ids

    def loads(self, folder, sha256):
        done = subprocess.run([sys.executable, os.path.join(HERE, "check_transformers.py"), folder, "--sha256", sha256],
                              capture_output=True, text=True, timeout=600)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        print(f"{os.path.basename(folder)}: {done.stdout.strip()}", flush=True)

    def program(self, *args):
        done = subprocess.run([cli.BLOCKSTEP, *args], capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def loss_of(self, folder, ids):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        slots = torch.tensor([ids[i * TOKENS:i * TOKENS + TOKENS + 1] for i in range(SLOTS)])
        with torch.no_grad():
            logits = model(slots[:, :-1]).logits
        return torch.nn.functional.cross_entropy(logits.double().flatten(0, 1), slots[:, 1:].flatten()).item()

    def hold(self, model, vocab):
        data, ids = self.write_tokens(vocab)
        run = self.new_run()
        settings = {"model.config": "", **model, "data.train": data, "data.tokens": TOKENS, "policy.name": "badam",
                    "policy.block_steps": 1, "train.steps": 4}
        sha256 = cli.weights_hash(cli.train(run, settings, ranks=RANKS))
        checkpoint = os.path.join(run, "checkpoints/step-00000004")
        export = run + "-export"
        self.program("export", run, export)
        for folder in (checkpoint, export):
            self.loads(folder, sha256)
        ours = json.loads(self.program("eval", run, data, "--tokens", str(TOKENS), "--json"))
        self.assertEqual(ours["tokens"], SLOTS * TOKENS)
        theirs = self.loss_of(export, ids)
        print(f"loss {ours['loss']:.7f}, transformers {theirs:.7f}", flush=True)
        self.assertTrue(math.isclose(ours["loss"], theirs, rel_tol=RELATIVE), (ours["loss"], theirs))

    def test_golden_models(self):
        for name in ("gqa_llama3", "tied_linear", "untied_mha"):
            with self.subTest(name):
                self.hold({"model.path": os.path.join(HERE, name)}, 80)

    def test_a_preset(self):
        self.hold({"model.preset": "9m", "model.vocab": 2048}, 2048)


if __name__ == "__main__":
    cli.main()
