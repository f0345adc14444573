"""Input that no person wrote, or a slip of the keyboard did: it neither hangs nor aborts nor plans for ever, and says
what it is with a documented exit code. Odd files lie in a folder of their own, since nobody may read them."""
import json
import os
import shutil
import struct
import tempfile

import cli
from bad_input import BAD_INPUT, USAGE, BadInputTest, read, safetensors, write


class HostileInput(BadInputTest):
    def setUp(self):
        super().setUp()
        self.odd = self.enterContext(tempfile.TemporaryDirectory())

    def fifo(self, name="pipe"):
        path = os.path.join(self.odd, name)
        os.mkfifo(path)
        return path

    def huge(self, name="huge"):
        """A file of a TiB without a block."""
        path = write(os.path.join(self.odd, name), "")
        os.truncate(path, 1 << 40)
        return path

    def loop(self, name="loop"):
        path = os.path.join(self.odd, name)
        os.symlink(path, path)
        return path

    def config(self, name, text, *said, code=USAGE):
        path = text if os.path.isabs(text) else self.path("run.txt", text)
        for command in ("train", "estimate"):
            run = ["--run", self.run_folder] if command == "train" else []
            self.refused(f"{name}, {command}", [cli.BLOCKSTEP, command, "--config", path, *run], code, *said)

    def test_configurations_that_are_no_files(self):
        self.config("pipe", self.fifo(), "pipe: expected a regular file, got a pipe")
        self.config("device", "/dev/zero", "/dev/zero: expected a regular file, got a device")
        self.config("folder", self.odd, "expected a regular file, got a folder")
        self.config("endless", self.huge(), "huge: expected at most 67108864 bytes, got 1099511627776")
        self.config("link to itself", self.loop(), "loop: Too many levels of symbolic links")

    def test_configurations_that_are_no_text(self):
        self.config("deep", 'model { preset: "9m" }\n' + "a {" * 200000, "run.txt:2:99: a.a.",
                    "expected at most 32 levels of '{', got more")
        self.config("wrong all over", "x: 1\n" * 100000, "x: unknown field", "too many errors; the rest is not read")
        self.config("binary", "\x00\x01\x02" * 1000, "run.txt:1:1: ")
        self.config("one line of a megabyte", "train { steps: " + "x" * 1000000 + " }", "... (1000000 bytes)")

    def test_numbers(self):
        self.train("threads", {"runtime.threads": 100000}, USAGE, "runtime.threads: expected <= 1024, got 100000")
        self.train("ranks", {}, USAGE, "runtime.local_ranks: expected <= 256, got 100000", ranks=100000)
        self.train("vocabulary of a preset", {"model.config": "", "model.preset": "9m", "model.vocab": 2147483648},
                   USAGE, "model.vocab: expected <= 16777216, got 2147483648")
        self.train("timeout", {"runtime.comm_timeout_s": 1e300}, USAGE, "runtime.comm_timeout_s: ", "<= 1e+08")
        for field, value in (("num_hidden_layers", 1000000000), ("vocab_size", 1 << 31), ("hidden_size", 1 << 62),
                             ("intermediate_size", 1 << 40), ("num_hidden_layers", (1 << 64) - 1)):
            path = self.path("model.json", json.dumps(dict(json.loads(self.tiny), **{field: value})))
            self.train(f"{field} {value}", {"model.config": path}, USAGE, "rank 0: ", "model.json",
                       f"{field}: expected ", f", got {value}")
            self.refused(f"{field} {value}, estimate",
                         [cli.BLOCKSTEP, "estimate", "--quick", "--set", f"model.config={path}"], USAGE, field)

    def test_names(self):
        self.refused("empty run", cli.command("", {}, mpi=False), USAGE, "--run", "expected a path, got an empty string")
        self.train("zero byte", {}, USAGE, "data.train: ", "expected no zero byte",
                   flags=["--config", self.path("zero.txt", 'data { train: "/dev/null\\000.bin" }')])

    def test_script(self):
        """What is wrong with its fields and what does not fit the model, in one message."""
        script = (f'model {{ config: "{cli.TINY["model.config"]}" }}\npolicy {{ name: scripted\n'
                  'phase { steps: 0 entry { tensor: "model.norm.weight" row_end: 16 } }\n'
                  'phase { steps: 1000 entry { tensor: "model.norm.bias" } } }\n')
        self.config("faults of two kinds", script, "configuration: 3 errors", "run.txt:3:9: policy.phase[0].steps: ",
                    "run.txt:3:24: policy.phase[0].entry[0]: active set: model.norm.weight: expected row bounds ",
                    "run.txt:4:27: policy.phase[1].entry[0]: the model has no tensor model.norm.bias")

    def test_models(self):
        for name, path, said in (("pipe", self.fifo(), "got a pipe"), ("device", "/dev/zero", "got a device"),
                                 ("endless", self.huge(), "expected at most 16777216 bytes"),
                                 ("link to itself", self.loop(), "Too many levels"),
                                 ("folder", self.odd, "got a folder")):
            self.train(name, {"model.config": path}, BAD_INPUT, "rank 0: ", said)
        deep = self.tiny.rstrip()[:-1] + ', "hidden_act": ' + "[" * 1000000 + "]" * 1000000 + "}"
        self.train("deep", {"model.config": self.path("deep.json", deep)}, USAGE, "rank 0: ", "deep.json",
                   "expected at most 64 levels of nesting")
        twice = self.tiny.rstrip()[:-1] + ', "hidden_size": 64}'
        self.train("a key twice", {"model.config": self.path("twice.json", twice)}, USAGE,
                   'twice.json: expected each key once, got "hidden_size" twice')

    def test_data(self):
        for name, path, said in (("pipe", self.fifo(), "got a pipe"), ("device", "/dev/zero", "got a device"),
                                 ("link to itself", self.loop(), "Too many levels")):
            self.train(name, {"data.train": path}, BAD_INPUT, "rank 0: token file", said)
            self.train(name + " to evaluate", {"data.val": path}, BAD_INPUT, "rank 0: token file", said)
            self.refused(name + ", eval", [cli.BLOCKSTEP, "eval", self.good, path], BAD_INPUT, "token file", said)
        self.train("TLS pipe", {"coordinator.tls_ca": self.fifo("ca"), "coordinator.tls_cert": self.odd,
                                "coordinator.tls_key": self.odd}, BAD_INPUT, "TLS file", "got a pipe",
                   flags=["--coordinator", "127.0.0.1:1"])

    def test_weights(self):
        whole = read(os.path.join(self.checkpoint, "model.safetensors"))
        size = struct.unpack("<Q", whole[:8])[0]
        header, data = whole[8:8 + size].rstrip(), whole[8 + size:]
        tensor = json.dumps(json.loads(header)["model.norm.weight"])
        odd = os.path.join(self.odd, "weights")

        def weights(name, make, *said):
            shutil.copytree(self.checkpoint, odd)
            make(os.path.join(odd, "model.safetensors"))
            self.train(name, {"model.config": "", "model.path": odd}, BAD_INPUT, "rank 0: ", *said)
            shutil.rmtree(odd)

        def content(text):
            return lambda path: write(path, safetensors(text, data))

        def pipe(path):
            os.remove(path)
            os.mkfifo(path)

        def index(path):
            os.remove(path)
            write(path + ".index.json", '{"weight_map":' + "[" * 1000000)
        weights("a tensor twice", content(header[:-1] + b',"model.norm.weight":' + tensor.encode() + b"}"),
                'model.safetensors: header: expected each key once, got "model.norm.weight" twice')
        weights("deep", content(b'{"x":' + b"[" * 1000000), "expected at most 64 levels of nesting")
        weights("names for a terminal", content(header[:-1] + b',"\\u001b[2J":3}'), r"tensor \x1b[2J: ")
        weights("a pipe", pipe, "model.safetensors: expected a regular file, got a pipe")
        weights("deep index", index, "index.json: expected at most 64 levels of nesting")

    def test_checkpoint_with_a_pipe(self):
        run = os.path.join(self.odd, "run")
        shutil.copytree(self.good, run)
        for name in ("model.safetensors", "trainer_state.pb", "config.json", "MANIFEST.json"):
            path = os.path.join(run, self.step, name)
            kept = path + ".kept"
            os.rename(path, kept)
            os.mkfifo(path)
            self.train(name, {"train.steps": 4}, BAD_INPUT, "rank 0: ", name, "got a pipe", run=run,
                       flags=["--resume", "auto", "--allow-config-change"])
            os.remove(path)
            os.rename(kept, path)


if __name__ == "__main__":
    cli.main()
