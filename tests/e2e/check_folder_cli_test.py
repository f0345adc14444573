"""A checkpoint is a folder that transformers loads as it lies: of tied, GQA and RoPE-scaled models and of a
preset, in one file and in several, each held against the format; and the check finds what is wrong."""
import json
import os
import shutil
import struct

import check_folder
import cli

GOLDEN = os.path.join(cli.SOURCE, "tests/golden")


class CheckFolder(cli.RunTest):
    def checkpoint(self, **settings):
        run = self.new_run()
        fields = {"policy.name": "badam", "policy.block_steps": 1, "train.steps": 2}
        text = cli.train(run, dict(fields, **settings), ranks=3, mpi=False)
        return os.path.join(run, "checkpoints/step-00000002"), cli.weights_hash(text)

    def tokens_below(self, vocab):
        path = os.path.join(self.folder.name, "tokens.bin")
        with open(path, "wb") as f:
            f.write(struct.pack("<3i", 20240520, 1, 400).ljust(1024, b"\0"))
            f.write(struct.pack("<400H", *(i * i % vocab for i in range(400))))
        return path

    def hold(self, folder, sha256):
        found, tensors = check_folder.problems(folder)
        self.assertEqual(found, [])
        self.assertEqual(check_folder.weights_sha256(tensors), sha256)

    def test_every_kind_of_model(self):
        for name in ("gqa_llama3", "tied_linear", "untied_mha"):
            for part in ("path", "config"):
                with self.subTest(name=name, part=part):
                    file = "" if part == "path" else "config.json"
                    settings = {"model.config": "", f"model.{part}": os.path.join(GOLDEN, name, file),
                                "data.train": self.tokens_below(80)}
                    self.hold(*self.checkpoint(**settings))
        self.hold(*self.checkpoint(**{"model.config": "", "model.preset": "9m", "model.vocab": 2048}))

    def test_several_files_and_what_is_wrong_with_others(self):
        whole, sha256 = self.checkpoint(**{"checkpoint.max_file_bytes": 100000})
        self.hold(whole, sha256)
        files = sorted(f for f in os.listdir(whole) if f.endswith(".safetensors"))
        self.assertGreater(len(files), 2)

        def edit(name, change):
            def apply(folder):
                path = os.path.join(folder, name)
                with open(path) as f:
                    content = json.load(f)
                change(content)
                with open(path, "w") as f:
                    json.dump(content, f)
            return apply

        def cut(folder):
            os.truncate(os.path.join(folder, files[1]), 5000)
        index = "model.safetensors.index.json"
        for damage, said in (
                (cut, "tensors end at"),
                (lambda folder: os.remove(os.path.join(folder, files[0])), "model.embed_tokens.weight: expected "),
                (lambda folder: os.remove(os.path.join(folder, index)), "no index over"),
                (edit(index, lambda j: j["weight_map"].popitem()), "the index names other tensors"),
                (edit("config.json", lambda j: j.pop("rms_norm_eps")), "rms_norm_eps: None"),
                (edit("config.json", lambda j: j.update(num_key_value_heads=4)), "k_proj.weight"),
                (edit("config.json", lambda j: j.update(tie_word_embeddings=True)), "lm_head.weight"),
                (edit("config.json", lambda j: j.update(num_hidden_layers=3)), "model.layers.2.")):
            folder = os.path.join(self.folder.name, "damaged")
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            damage(folder)
            self.assertIn(said, "\n".join(check_folder.problems(folder)[0]))


if __name__ == "__main__":
    cli.main()
