"""Bad input, case by case: one message that names what, where, expected and got (and the rank), a documented
exit code, and a disk that looks as before."""
import json
import os
import shutil
import struct

import cli
from bad_input import BAD_INPUT, OK, USAGE, BadInputTest, read, safetensors, tokens, write


class BadInput(BadInputTest):
    def test_command_line(self):
        """One line: the flag, what was expected, what was given. Never a sentence of the parser's library."""
        for said, *args in (
                ("train: --run: expected a value, got none", "train", "--run"),
                ("train: --run: expected a value, got the flag --set", "train", "--run", "--set", "train.steps=3"),
                ("train: --set: expected a value, got none", "train", "--set"),
                ("train: --config: expected a value, got none", "train", "--config"),
                ("train: --run: expected a value, got none", "train", "--run="),
                ("train: --run: expected a path, got an empty string", "train", "--run", ""),
                ("train: --run: expected one value, got 2", "train", "--run", "a", "--run", "b"),
                ("train: --insecure: expected no value, got 'maybe'", "train", "--insecure=maybe"),
                ("train: expected no further argument, got 'here'", "train", "here"),
                ("train: expected no further argument, got 'b'", "train", "--run", "a", "b"),
                ("train: unknown flag -x; expected one of --help, --config,", "train", "-x"),
                ("estimate: --ranks: expected a number > 0, got 'two'", "estimate", "--ranks", "two"),
                ("estimate: --ranks: expected a number > 0, got '0'", "estimate", "--ranks", "0"),
                ("estimate: --ranks: expected an integer, got '1.5'", "estimate", "--ranks", "1.5"),
                ("estimate: --ranks: expected a smaller integer, got '99999999999'", "estimate", "--ranks", "9" * 11),
                ("coordinator: expected --folder, got none", "coordinator"),
                ("eval: expected weights, got none", "eval"),
                ("eval: --placement: expected sharded or pinned, got 'here'", "eval", "w", "d", "--placement", "here"),
                ("export: expected no further argument, got 'c'", "export", "a", "b", "c"),
                ("tokenize: --val-fraction: expected a number, got 'half'",
                 "tokenize", "t", "--model", "m", "--out", "o", "--val-fraction", "half"),
        ):
            text = self.refused(" ".join(args), [cli.BLOCKSTEP, *args], USAGE)
            self.assertEqual(text.count("\n"), 1, text)
            self.assertTrue(text.startswith(f"blockstep {said}"), text)
            if "unknown" not in said:
                self.assertEqual(text, f"blockstep {said}\n")

    def test_flags_and_fields(self):
        self.refused("unknown command", [cli.BLOCKSTEP, "trian"], USAGE, "unknown command 'trian'",
            "did you mean train?")
        self.train("unknown flag", {}, USAGE, "unknown flag --rum", "did you mean --run?", flags=["--rum", "x"])
        self.train("unknown field", {"train.stepz": 3}, USAGE, "--set train.stepz=3", "unknown field",
            "did you mean steps?")
        self.train("negative number", {"train.steps": -1}, USAGE, "train.steps: expected >= 1, got -1",
            "blockstep train: configuration: 1 error")
        self.train("no number", {"optimizer.lr": "fast"}, USAGE,
            "optimizer.lr: expected a finite number, got fast")
        self.train("unknown value", {"policy.name": "badman"}, USAGE, "policy.name: expected one of full, badam", "got badman",
            "did you mean badam?")
        # Libraries keep 16 bits of a port and say nothing.
        beyond, ports = "127.0.0.1:99999", "expected host:port, the port from 0 to 65535, got 127.0.0.1:99999"
        self.train("port to dial", {}, USAGE, "coordinator.address: " + ports, flags=["--coordinator", beyond])
        self.train("port of HTTP", {"coordinator.http_address": beyond}, USAGE, "http_address: " + ports)
        self.refused("port to bind", [cli.BLOCKSTEP, "coordinator", "--folder", self.path("c"), "--bind", beyond,
            *[f"--set={k}={v}" for k, v in cli.TINY.items()]], USAGE, "address: " + ports)
        self.refused("port to ask", [cli.BLOCKSTEP, "status", "--coordinator", beyond], USAGE, ports)
        self.train("contradiction", {"batch.micro_slots": 2}, USAGE,
            "batch.micro_slots: expected 1 with train.numerics slot_exact, got 2")
        self.train("two sources", {"model.preset": "9m"}, USAGE,
            "expected only one of model.path, model.config, model.preset, got 2 of them")
        self.train("unknown preset", {"model.config": "", "model.preset": "9t"}, USAGE, "rank 0: model.preset: expected one of 9m", "got '9t'")
        self.train("no such backend", {"runtime.backend": "cuda"}, USAGE,
            "rank 0: runtime.backend: expected cpu, guarded or null, got 'cuda', which is not in this build")
        self.train("backend without memory", {"runtime.backend": "null"}, USAGE,
            "rank 0: runtime.backend: expected cpu or guarded, got null, which has no memory")
        self.train("sequence beyond the model", {"data.tokens": 1000}, USAGE,
            "rank 0: data.tokens: expected at most 128 (the model's max_position_embeddings), got 1000")
        self.train("more ranks than slots", {}, USAGE,
            "batch.slots: expected at least one slot per rank, got 6 slots for 7 ranks", ranks=7)
        self.train("no data", {"data.train": ""}, USAGE, "rank 0: ", "data.train: expected at least one token file, got none")
        without_eos = {k: v for k, v in json.loads(self.tiny).items() if k != "eos_token_id"}
        mask = {"data.document_mask": "true"}
        self.train("document mask without EOS",
            {"model.config": self.path("no_eos.json", json.dumps(without_eos)), **mask}, USAGE,
                   "rank 0: data.document_mask: expected an eos_token_id below 2048 in the model's configuration", "got none")
        self.train("document mask with an EOS beyond the vocabulary",
            {"model.config": self.path("eos.json", json.dumps(dict(without_eos, eos_token_id=2048))), **mask},
            USAGE, "expected an eos_token_id below 2048", "got 2048")
        no_ends = self.path("no_ends.bin", tokens([5] * 300))
        self.train("document mask with data that has no EOS", {"data.train": f"{no_ends},{no_ends}", **mask}, USAGE,
                   "rank 0: data.document_mask: expected token 2 (the model's eos_token_id) at the end of each document",
                   "got none among the first 600 tokens",
                   no_ends)
        self.train("evaluation without data", {"eval.every_steps": 5}, USAGE,
            "eval.every_steps: expected 0 without data.val, got 5")
        self.refused("eval of no sequences",
            [cli.BLOCKSTEP, "eval", self.good, cli.TINY["data.train"], "--tokens", "-4"], USAGE,
            "blockstep eval: --tokens: expected a number > 0, got '-4'")

    def test_configuration_files(self):
        config = lambda text: [cli.BLOCKSTEP, "train", "--run", self.run_folder, "--config",
            self.path("run.txt", text)]
        self.refused("missing", [cli.BLOCKSTEP, "train", "--config", self.path("no.txt")], USAGE,
            "no.txt: No such file")
        self.refused("open brace", config('model {\n  preset: "9m"\n'), USAGE,
            "run.txt:1:7: model: this '{' is not closed")
        self.refused("unknown field", config('model { preset: "9m" }\nbatch {\n  slotz: 4\n}\n'), USAGE,
                     "run.txt:3:3: batch.slotz: unknown field, did you mean slots?")
        self.refused("yaml", config("model:\n  preset: 9m\n"), USAGE, "run.txt:2:3")
        rows = lambda name, begin, end: (
            f'model {{ config: "{cli.TINY["model.config"]}" }} data {{ train: "{cli.TINY["data.train"]}" }}\n'
            'runtime { transport: local }\npolicy { name: scripted phase { steps: 1000 entry {\n'
            f'tensor: "{name}" row_begin: {begin} row_end: {end} }} }} }}\n')
        self.refused("rows that cut a quantum of a vector", config(rows("model.norm.weight", 0, 16)), USAGE,
                     "policy.phase does not fit the model: 1 error\n", "run.txt:3:51: policy.phase[0].entry[0]: active set: "
                     "model.norm.weight: expected row bounds that are "
                     "multiples of 256, or the last row 32, got [0, 16)")
        self.refused("rows that cut a tile", config(rows("model.embed_tokens.weight", 32, 64)), USAGE,
                     "model.embed_tokens.weight: expected row bounds that are multiples of 64")
        self.refused("rows of no tensor", config(rows("model.norm.bias", 0, 0)), USAGE,
                     "policy.phase[0].entry[0]: the model has no tensor model.norm.bias, did you mean")
        self.refused("text in quotes", config("model { preset: 9m }\n"), USAGE, "run.txt:1:17", "expected a string in quotes")

    def test_models(self):
        def model(name, code, said, **fields):
            path = self.path("model.json", json.dumps(dict(json.loads(self.tiny), **fields)))
            self.train(name, {"model.config": path}, code, "rank 0: ", "model.json", *said)
        self.train("missing", {"model.config": self.path("no.json")}, BAD_INPUT, "rank 0: ",
            "no.json: No such file")
        self.train("no JSON", {"model.config": self.path("half.json", self.tiny[:100])}, USAGE,
            "half.json: expected JSON, got an error at byte ")
        model("heads do not divide", USAGE,
            ["num_attention_heads: expected a divisor of hidden_size 32, got 5"], num_attention_heads=5,
            num_key_value_heads=5)
        model("another family", USAGE, ['model_type: expected "llama", got "mistral"'], model_type="mistral")
        model("no width", USAGE, ["hidden_size: expected a positive integer, got 0"], hidden_size=0)

    def test_token_files(self):
        data = lambda name, content: {"data.train": self.path(name, content)}
        whole = tokens([5] * 2000)
        for mpi in (False, True):  # with one rank there is nothing to tell apart
            self.train(f"missing, one rank, mpi {mpi}", {"data.train": self.path("no.bin")}, BAD_INPUT,
                       "blockstep: token file: cannot read " + self.path("no.bin"), ranks=1, mpi=mpi)
        self.train("missing", {"data.train": self.path("no.bin")}, BAD_INPUT, "rank 0: token file", "no.bin",
            "No such file")
        self.train("folder", {"data.train": self.dir}, BAD_INPUT, "rank 0: token file",
            "expected a regular file, got a folder")
        self.train("bad magic", data("magic.bin", tokens([5] * 2000, magic=7)), BAD_INPUT,
            "expected magic 20240520", "got 7")
        self.train("another version", data("version.bin", tokens([5] * 2000, version=9)), BAD_INPUT,
            "expected version 1", "got 9")
        self.train("truncated", data("cut.bin", whole[:-1000]), BAD_INPUT,
            "truncated: expected 2000 tokens (header), got 1500")
        self.train("only a header", data("short.bin", tokens([5] * 9)), BAD_INPUT,
            "expected at least 17 tokens", "got 9")
        self.train("token beyond the vocabulary", data("id.bin", tokens([5] * 1500 + [2048] + [5] * 600)),
            BAD_INPUT,
                   "rank 1: token file", "id.bin: token 1500: expected an id below the vocabulary size 2048, got 2048; vocab_size in the model's config.json")
        self.train("tokenizer of another size than the preset's",
            {"model.config": "", "model.preset": "9m", "model.vocab": 1000, **data("nine.bin", tokens([999, 1000] * 999))},
            BAD_INPUT, "rank 0: token file", "expected an id below the vocabulary size 1000, got 1000; model.vocab sets")
        self.train("wrong vocabulary, validation", {"data.val": self.path("val.bin", tokens([9999] * 99))},
            BAD_INPUT,
                   "rank 0: token file", "val.bin: token 0: expected an id below the vocabulary size 2048, got 9999")
        self.train("under mpirun", data("id.bin", tokens([5] * 1500 + [2048] + [5] * 600)), BAD_INPUT,
                   "rank 1: token file", "token 1500: expected", "got 2048", mpi=True)

    def test_weights(self):
        def weights(name, code, *said, content=None, config=None, **kwargs):
            folder = self.path(name.replace(" ", "-"))
            shutil.copytree(self.checkpoint, folder)
            if content is not None:
                write(os.path.join(folder, "model.safetensors"), content)
            if config is not None:
                path = os.path.join(folder, "config.json")
                write(path, json.dumps(dict(json.loads(read(path)), **config)))
            settings = {"model.config": "", "model.path": folder}
            return self.train(name, settings, code, *said, **kwargs)
        file = os.path.join(self.checkpoint, "model.safetensors")
        whole = read(file)
        one = {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
        entry = lambda **fields: {"x": dict(one["x"], **fields)}
        where = ("rank 0: ", "model.safetensors")
        self.train("missing folder", {"model.config": "", "model.path": self.path("no")}, BAD_INPUT,
            "no/config.json: No such file")
        weights("cut in its data", BAD_INPUT, *where, "the file has", content=whole[:-1000])
        weights("cut in its header", BAD_INPUT, *where, "expected a header of", content=whole[:100])
        weights("empty", BAD_INPUT, *where, "expected at least 8 bytes, got 0", content=b"")
        weights("header of 2^60 bytes", BAD_INPUT, *where, "expected a header of at most",
            content=struct.pack("<Q", 1 << 60) + whole[8:])
        weights("header that is no JSON", BAD_INPUT, *where, "header: expected JSON, got an error at byte",
            content=safetensors(b"\xff" * 64))
        weights("offsets outside", BAD_INPUT, *where, "tensor x",
            content=safetensors(entry(data_offsets=[0, 1 << 40]), b"12345678"))
        weights("negative offsets", BAD_INPUT, *where, "expected 0 <= begin <= end",
            content=safetensors(entry(data_offsets=[-8, 0]), b"12345678"))
        weights("shape that overflows", BAD_INPUT, *where, "tensor x",
            content=safetensors(entry(shape=[1 << 62, 1 << 62]), b"12345678"))
        weights("overlap", BAD_INPUT, *where, "overlap",
            content=safetensors(dict(one, y=one["x"]), b"12345678"))
        weights("unknown dtype", BAD_INPUT, *where, "unknown dtype 'F31'",
            content=safetensors(entry(dtype="F31"), b"12345678"))
        weights("other tensors", BAD_INPUT, "rank 0: ", "missing: model.embed_tokens.weight", "unexpected: x",
            content=safetensors(one, b"12345678"))
        weights("another shape", BAD_INPUT, "rank 0: ", "expected shape [96,32], got [80,32]",
            config={"intermediate_size": 96})
        self.refused("tokenizer missing",
            cli.command(self.run_folder, {}, mpi=False, flags=["--tokenizer", self.path("no.model")]),
                     BAD_INPUT, "--tokenizer", "no.model")

    def test_resume(self):
        def resume(name, code, *said, damage=None, settings=None, flags=(), run=False, mpi=False):
            folder = self.path(name.replace(" ", "-"))
            shutil.copytree(self.good, folder)
            if damage is not None:
                damage(os.path.join(folder, self.step))
            target = ["--resume", "auto"] if run else ["--resume", os.path.join(folder, self.step)]
            self.train(name, {"train.steps": 4, **(settings or {})}, code, *said, flags=[*target, *flags],
                mpi=mpi,
                       run=folder if run else None)

        def change(name, edit):
            def damage(checkpoint):
                path = os.path.join(checkpoint, name)
                content = bytearray(read(path))
                write(path, bytes(edit(content)))
            return damage

        def flip(at):
            def edit(content):
                content[at] ^= 1
                return content
            return edit
        longer = {"train.steps": 2}  # the same maths as the run that is continued
        changed = ("rank 0: ", "the configuration has changed:\n", "- train.steps: 2", "+ train.steps: 4",
            "--allow-config-change")
        accept = ["--allow-config-change"]
        self.train("missing", {}, BAD_INPUT, f"rank 0: --resume {self.path('no')}: no such folder",
            flags=["--resume", self.path("no")])
        self.train("no checkpoint", {}, BAD_INPUT, "expected a checkpoint, or a run that has one",
            flags=["--resume", self.dir])
        resume("changed maths", USAGE, *changed)
        resume("changed maths in place", USAGE, *changed, run=True)
        resume("another policy", USAGE, "rank 0: ", '- policy.name: full', '+ policy.name: badam',
            "--allow-config-change", "(incompatible policy state is reset)", settings=dict(longer, **{"policy.name": "badam"}))
        resume("damaged manifest", BAD_INPUT, "rank 0: ", "MANIFEST.json: corrupt",
            damage=change("MANIFEST.json", lambda c: c.replace(b'"step": 2', b'"step": 3')), settings=longer)
        resume("cut manifest", BAD_INPUT, "rank 0: ", "MANIFEST.json",
            damage=change("MANIFEST.json", lambda c: c[:200]), settings=longer)
        resume("damaged weights", BAD_INPUT, "rank 0: ", "model.safetensors",
            damage=change("model.safetensors", flip(-5)), flags=accept)
        resume("damaged weights in place", BAD_INPUT, "rank 0: ", "model.safetensors",
            damage=change("model.safetensors", flip(-5)), flags=accept, run=True)
        resume("cut weights", BAD_INPUT, "rank 0: ", "model.safetensors",
            damage=change("model.safetensors", lambda c: c[:-64]), flags=accept)
        resume("damaged counters", BAD_INPUT, "rank 0: ", "trainer_state.pb",
            damage=change("trainer_state.pb", flip(9)), flags=accept)
        resume("newer format", BAD_INPUT, "expected format version 1, got 2",
            damage=change("MANIFEST.json", lambda c: c.replace(b'"version": 1', b'"version": 2')),
            settings=longer)
        resume("under mpirun", BAD_INPUT, "model.safetensors", damage=change("model.safetensors", flip(-5)),
            flags=accept, mpi=True)
        # Nothing is wrong with these: there is just nothing to do.
        for name, kwargs in (("in place", {"run": True}), ("in place under mpirun", {"run": True, "mpi": True}),
                             ("as another run", {})):
            resume("finished run " + name, OK, "step-00000002: the run is finished (step 2 of 2); nothing to do",
                   settings=longer, **kwargs)
        other = json.dumps(dict(json.loads(self.tiny), intermediate_size=96))
        resume("another model", BAD_INPUT, "model mismatch: intermediate_size: expected 96, got 80",
            settings={"model.config": self.path("other.json", other)}, flags=accept)
        self.train("run exists", {}, BAD_INPUT, "rank 0: run folder", "--resume auto", run=self.good)
        os.mkdir(self.path("home"))
        write(self.path("home/thesis.tex"), "text")
        self.train("folder of something else", {}, BAD_INPUT, "is not empty and is not a run",
            run=self.path("home"))


if __name__ == "__main__":
    cli.main()
