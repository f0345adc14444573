"""Bad input, case by case: one message that names what, where, found and wanted (and the rank), a documented
exit code, and a disk that looks as before."""
import hashlib
import json
import os
import re
import resource
import shutil
import socket
import struct
import subprocess
import tempfile
import unittest

import cli

# exit_codes.h
USAGE, BAD_INPUT, RESOURCES, PEERS, NON_FINITE, STOPPED = 2, 3, 4, 5, 6, 75
SPM = os.path.join(os.path.dirname(cli.BLOCKSTEP), "blockstep-spm")
# What a run says besides messages.
PROGRESS = re.compile(r"(run|model|plan:|step|checkpoint|memory:|weights sha256|blocks sha256|full:) ?")


def tree(folder):
    """Every file with its content's hash, every folder."""
    found = {}
    for path, folders, files in os.walk(folder):
        for name in folders:
            found[os.path.join(path, name)] = "folder"
        for name in files:
            found[os.path.join(path, name)] = hashlib.sha256(read(os.path.join(path, name))).hexdigest()
    return found


def write(path, data):
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tokens(ids, magic=20240520, version=1, count=None):
    header = [magic, version, len(ids) if count is None else count] + [0] * 253
    return struct.pack("<256i", *header) + struct.pack(f"<{len(ids)}H", *ids)


class BadInput(cli.RunTest):
    @classmethod
    def setUpClass(cls):
        cls.room = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.tiny = read(cli.TINY["model.config"]).decode()
        # A run whose checkpoint is there to be copied and damaged.
        cls.good = os.path.join(cls.room, "good")
        cli.train(cls.good, {"train.steps": 2}, mpi=False)
        cls.step = os.path.join("checkpoints", "step-00000002")
        cls.checkpoint = os.path.join(cls.good, cls.step)

    def setUp(self):
        super().setUp()
        self.dir = self.folder.name
        self.run_folder = os.path.join(self.dir, "deep", "run")

    def path(self, name, data=None):
        path = os.path.join(self.dir, name)
        return path if data is None else write(path, data)

    def refused(self, name, args, code, *said, ranks=None, env=None, unchanged=True, **kwargs):
        """One subtest: `said` are texts of the message. `ranks`: only one of them speaks."""
        with self.subTest(name):
            before = tree(self.dir)
            done = subprocess.run(args, capture_output=True, text=True, timeout=60,
                env=env or cli.environment(),
                                  stdin=subprocess.DEVNULL, **kwargs)
            everything = f"{done.stdout}{done.stderr}"
            self.assertEqual(done.returncode, code, everything)
            text = "\n".join(l for l in done.stderr.splitlines() if l and not PROGRESS.match(l))
            for part in said:
                self.assertIn(part, text, everything)
            # More lines may only say more of the same message.
            heads = [l for l in text.splitlines() if re.match(r"blockstep\b", l)]
            self.assertEqual(len(heads), 1, everything)
            self.assertNotIn("rank 0: rank", text)
            if unchanged:
                self.assertEqual(tree(self.dir), before, everything)
            return everything

    def train(self, name, settings, code, *said, flags=(), ranks=2, mpi=False, run=None, **kwargs):
        args = cli.command(run or self.run_folder, {"train.steps": 2, **settings}, ranks=ranks, mpi=mpi,
            flags=flags)
        return self.refused(name, args, code, *said, **kwargs)

    def test_flags_and_fields(self):
        self.refused("unknown command", [cli.BLOCKSTEP, "trian"], USAGE, "no command 'trian'",
            "did you mean train?")
        self.train("unknown flag", {}, USAGE, "no flag --rum", "did you mean --run?", flags=["--rum", "x"])
        self.train("unknown field", {"train.stepz": 3}, USAGE, "--set train.stepz=3", "unknown field",
            "did you mean steps?")
        self.train("negative number", {"train.steps": -1}, USAGE, "found -1, wanted at least 1",
            "configuration: 1 error")
        self.train("no number", {"optimizer.lr": "fast"}, USAGE,
            "optimizer.lr: found fast, wanted a finite number")
        self.train("unknown value", {"policy.name": "badman"}, USAGE, "found badman, wanted full, badam",
            "did you mean badam?")
        self.train("contradiction", {"batch.micro_slots": 2}, USAGE,
            "batch.micro_slots: found 2, wanted 1 with train.numerics slot_exact")
        self.train("two sources", {"model.preset": "9m"}, USAGE,
            "found 2 sources, wanted one of model.path, model.config, model.preset")
        self.train("unknown preset", {"model.config": "", "model.preset": "9t"}, USAGE, "rank 0: ", "'9t'",
            "wanted one of: 9m")
        self.train("no such backend", {"runtime.backend": "cuda"}, USAGE,
            "rank 0: backend 'cuda', wanted one of: cpu")
        self.train("sequence beyond the model", {"data.tokens": 1000}, USAGE,
            "rank 0: data.tokens: 1000, the model has 128 positions")
        self.train("more ranks than slots", {}, USAGE,
            "6 slots per step for 7 ranks; wanted at least one slot per rank", ranks=7)
        self.train("evaluation without data", {"eval.every_steps": 5}, USAGE,
            "eval.every_steps: found 5, wanted 0 without data.val")
        self.refused("eval of no sequences",
            [cli.BLOCKSTEP, "eval", self.good, cli.TINY["data.train"], "--tokens", "-4"], USAGE,
            "blockstep eval: --tokens: Value -4 not in range")

    def test_configuration_files(self):
        config = lambda text: [cli.BLOCKSTEP, "train", "--run", self.run_folder, "--config",
            self.path("run.txt", text)]
        self.refused("missing", [cli.BLOCKSTEP, "train", "--config", self.path("no.txt")], USAGE,
            "no.txt: cannot be read, wanted a text file")
        self.refused("open brace", config('model {\n  preset: "9m"\n'), USAGE,
            "run.txt:1:7: model: this '{' is not closed")
        self.refused("unknown field", config('model { preset: "9m" }\nbatch {\n  slotz: 4\n}\n'), USAGE,
                     "run.txt:3:3: batch.slotz: unknown field, did you mean slots?")
        self.refused("yaml", config("model:\n  preset: 9m\n"), USAGE, "run.txt:2:3")
        self.refused("text in quotes", config("model { preset: 9m }\n"), USAGE, "run.txt:1:17", "wanted")

    def test_models(self):
        def model(name, code, said, **fields):
            path = self.path("model.json", json.dumps(dict(json.loads(self.tiny), **fields)))
            self.train(name, {"model.config": path}, code, "rank 0: ", "model.json", *said)
        self.train("missing", {"model.config": self.path("no.json")}, BAD_INPUT, "rank 0: model.config: ",
            "no.json cannot be read")
        self.train("no JSON", {"model.config": self.path("half.json", self.tiny[:100])}, USAGE,
            "half.json: not a JSON object")
        model("heads do not divide", USAGE,
            ["num_attention_heads: found 5, wanted a divisor of hidden_size 32"], num_attention_heads=5,
            num_key_value_heads=5)
        model("another family", USAGE, ['model_type: found "mistral", wanted "llama"'], model_type="mistral")
        model("no width", USAGE, ["hidden_size: found 0, wanted a positive integer"], hidden_size=0)

    def test_token_files(self):
        data = lambda name, content: {"data.train": self.path(name, content)}
        whole = tokens([5] * 2000)
        self.train("missing", {"data.train": self.path("no.bin")}, BAD_INPUT, "rank 0: token file", "no.bin",
            "No such file")
        self.train("folder", {"data.train": self.dir}, BAD_INPUT, "rank 0: token file", "not a regular file")
        self.train("bad magic", data("magic.bin", tokens([5] * 2000, magic=7)), BAD_INPUT,
            "found magic 7, wanted 20240520")
        self.train("another version", data("version.bin", tokens([5] * 2000, version=9)), BAD_INPUT,
            "found version 9, wanted 1")
        self.train("cut short", data("cut.bin", whole[:-1000]), BAD_INPUT,
            "cut short: found 1500 tokens, wanted the header's 2000")
        self.train("only a header", data("short.bin", tokens([5] * 9)), BAD_INPUT,
            "found 9 tokens, wanted at least 17")
        self.train("token beyond the vocabulary", data("id.bin", tokens([5] * 1500 + [2048] + [5] * 600)),
            BAD_INPUT,
                   "rank 1: token file", "id.bin: found id 2048 at token 1500, wanted ids below the vocabulary size 2048")
        self.train("wrong vocabulary, validation", {"data.val": self.path("val.bin", tokens([9999] * 99))},
            BAD_INPUT,
                   "rank 0: token file", "val.bin: found id 9999 at token 0")
        self.train("under mpirun", data("id.bin", tokens([5] * 1500 + [2048] + [5] * 600)), BAD_INPUT,
                   "rank 1: token file", "found id 2048 at token 1500", mpi=True)

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
            "no/config.json: cannot open")
        weights("cut in its data", BAD_INPUT, *where, "the file has", content=whole[:-1000])
        weights("cut in its header", BAD_INPUT, *where, "header of", content=whole[:100])
        weights("empty", BAD_INPUT, *where, "0 bytes, wanted at least 8", content=b"")
        weights("header of 2^60 bytes", BAD_INPUT, *where, "wanted at most",
            content=struct.pack("<Q", 1 << 60) + whole[8:])
        weights("header that is no JSON", BAD_INPUT, *where, "no JSON object",
            content=safetensors(b"\xff" * 64))
        weights("offsets outside", BAD_INPUT, *where, "tensor x",
            content=safetensors(entry(data_offsets=[0, 1 << 40]), b"12345678"))
        weights("negative offsets", BAD_INPUT, *where, "wanted 0 <= begin <= end",
            content=safetensors(entry(data_offsets=[-8, 0]), b"12345678"))
        weights("shape that overflows", BAD_INPUT, *where, "tensor x",
            content=safetensors(entry(shape=[1 << 62, 1 << 62]), b"12345678"))
        weights("overlap", BAD_INPUT, *where, "overlap",
            content=safetensors(dict(one, y=one["x"]), b"12345678"))
        weights("unknown dtype", BAD_INPUT, *where, "unknown dtype 'F31'",
            content=safetensors(entry(dtype="F31"), b"12345678"))
        weights("other tensors", BAD_INPUT, "rank 0: ", "missing: model.embed_tokens.weight", "unexpected: x",
            content=safetensors(one, b"12345678"))
        weights("another shape", BAD_INPUT, "rank 0: ", "found shape [80,32], wanted [96,32]",
            config={"intermediate_size": 96})
        self.refused("tokenizer missing",
            cli.command(self.run_folder, {}, mpi=False, flags=["--tokenizer", self.path("no.model")]),
                     BAD_INPUT, "rank 0: --tokenizer", "no.model")

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
        changed = ("rank 0: ", "changes the maths", "- train.steps: 2", "+ train.steps: 4",
            "--resume-with-changed-maths")
        accept = ["--resume-with-changed-maths"]
        self.train("missing", {}, BAD_INPUT, "rank 0: --resume", "neither a checkpoint nor a run that has one",
            flags=["--resume", self.path("no")])
        self.train("no checkpoint", {}, BAD_INPUT, "neither a checkpoint nor a run",
            flags=["--resume", self.dir])
        resume("changed maths", USAGE, *changed)
        resume("changed maths in place", USAGE, *changed, run=True)
        resume("damaged manifest", BAD_INPUT, "rank 0: ", "MANIFEST.json: damaged",
            damage=change("MANIFEST.json", lambda c: c.replace(b'"step": 2', b'"step": 3')), settings=longer)
        resume("cut manifest", BAD_INPUT, "rank 0: ", "MANIFEST.json",
            damage=change("MANIFEST.json", lambda c: c[:200]), settings=longer)
        resume("damaged weights", BAD_INPUT, "rank 0: ", "model.safetensors",
            damage=change("model.safetensors", flip(-5)), flags=accept)
        resume("damaged weights in place", BAD_INPUT, "rank 0: ", "model.safetensors",
            damage=change("model.safetensors", flip(-5)), flags=accept, run=True)
        resume("cut weights", BAD_INPUT, "rank 0: ", "model.safetensors",
            damage=change("model.safetensors", lambda c: c[:-64]), settings=longer)
        resume("damaged counters", BAD_INPUT, "rank 0: ", "trainer_state.pb",
            damage=change("trainer_state.pb", flip(9)), settings=longer)
        resume("newer format", BAD_INPUT, "version 2",
            damage=change("MANIFEST.json", lambda c: c.replace(b'"version": 1', b'"version": 2')),
            settings=longer)
        resume("under mpirun", BAD_INPUT, "model.safetensors", damage=change("model.safetensors", flip(-5)),
            flags=accept, mpi=True)
        other = json.dumps(dict(json.loads(self.tiny), intermediate_size=96))
        resume("another model", BAD_INPUT, "is of another model", "mlp",
            settings={"model.config": self.path("other.json", other)}, flags=accept)
        self.train("run exists", {}, BAD_INPUT, "rank 0: run folder", "--resume auto", run=self.good)
        os.mkdir(self.path("home"))
        write(self.path("home/thesis.tex"), "text")
        self.train("folder of something else", {}, BAD_INPUT, "is not empty and holds no run",
            run=self.path("home"))

    def test_places(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            self.train("HTTP port taken", {"coordinator.http_address": address}, RESOURCES,
                "rank 0: http_address", address, "cannot listen")
            settings = [f"--set={k}={v}" for k, v in cli.TINY.items()]
            self.refused("port taken",
                [cli.BLOCKSTEP, "coordinator", "--folder", self.path("c"), "--bind", address, *settings],
                         RESOURCES, "--bind " + address, "Address already in use")
        self.train("HTTP for all without a token", {"coordinator.http_address": "0.0.0.0:0"}, USAGE,
            "found no token on an address that others reach")
        self.train("plaintext to another host", {}, USAGE, "wanted TLS files",
            flags=["--coordinator", "192.0.2.1:7"])
        self.train("TLS files missing", {}, BAD_INPUT, "rank 0: TLS file", "ca.pem: cannot be read, wanted PEM",
                   flags=["--coordinator", "127.0.0.1:1", "--tls", self.path("no")])
        pem = self.path("pem")
        os.mkdir(pem)
        for name in ("ca", "client", "client-key"):
            write(os.path.join(pem, name + ".pem"), "text")
        self.train("TLS files of something else", {}, USAGE, "rank 0: TLS file", "wanted PEM",
            flags=["--coordinator", "127.0.0.1:1", "--tls", pem])
        self.train("coordinator not there", {"coordinator.grace_s": 0.2}, STOPPED,
            "rank 0: join: gave up after 0.2 s: coordinator 127.0.0.1:1",
                   flags=["--coordinator", "127.0.0.1:1"])
        self.train("folder that cannot be", {}, BAD_INPUT, "rank 0: cannot create run folder /dev/null/run",
            run="/dev/null/run")
        self.train("trace into no folder", {"runtime.trace": self.path("no/trace")}, BAD_INPUT,
            "rank 0: runtime.trace", "no/trace")
        self.train("too little memory", {"runtime.memory_limit_bytes": 1 << 20}, RESOURCES,
            "rank 0: memory: the run needs", "there are 1.0 MiB")
        self.refused("status of nothing", [cli.BLOCKSTEP, "status", self.path("no")], BAD_INPUT,
            "no/coordinator.json")
        self.refused("export over something", [cli.BLOCKSTEP, "export", self.good, self.good], BAD_INPUT,
            "the folder exists and is not empty")

    def tokenize(self, name, code, *said, model=os.path.join(cli.DATA, "tokenizer.model"), text="text.txt",
            flags=(), **kwargs):
        args = [cli.BLOCKSTEP, "tokenize", "--model", model, "--out", self.path("out.bin"), self.path(text),
            *flags]
        self.refused(name, args, code, *said, **kwargs)

    @unittest.skipUnless(os.path.exists(SPM), "blockstep-spm is not built")
    def test_tokenize(self):
        write(self.path("text.txt"), "some text")
        write(self.path("lines.jsonl"), '{"text": "a"}\n{"txt": "b"}\n')
        self.tokenize("text missing", BAD_INPUT, "no.txt", text="no.txt")
        self.tokenize("field missing", BAD_INPUT, 'lines.jsonl:2: found no field "text" among: txt',
            text="lines.jsonl")
        self.tokenize("tokenizer missing", BAD_INPUT, "no.model", model=self.path("no.model"))
        self.tokenize("no tokenizer", BAD_INPUT, "text.txt", model=self.path("text.txt"))
        write(self.path("out.bin"), "mine")
        self.tokenize("output exists", BAD_INPUT, "out.bin: exists; wanted a new name, or --overwrite")

    def mounted(self, name, options):
        """A small file system of its own, or a skip where this user may not mount."""
        folder = self.path(name)
        os.mkdir(folder)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True,
            text=True)
        if done.returncode != 0:
            self.skipTest(f"no mount here ({done.stderr.strip()}): wanted root in a container with CAP_SYS_ADMIN")
        self.addCleanup(subprocess.run, ["umount", folder], check=True)
        return folder

    def test_read_only_folder(self):
        folder = self.mounted("ro", "size=1m,ro")
        self.train("read-only folder", {}, RESOURCES, "rank 0: cannot create run folder",
            "Read-only file system", run=os.path.join(folder, "run"))

    def test_full_disk(self):
        """The last save does not fit: what the run wrote before it stays, and no half of a checkpoint does."""
        def full(name, run, said, **kwargs):
            self.train(name, {}, RESOURCES, "rank 0: ", "model.safetensors", said, run=run, unchanged=False,
                **kwargs)
            self.assertEqual(os.listdir(os.path.join(run, "checkpoints")), [])
            self.assertTrue(os.path.exists(os.path.join(run, "run.json")))
        limit = 300 << 10
        full("limit on files", self.path("run"), "File too large",
             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        full("disk full", os.path.join(self.mounted("small", "size=400k"), "run"), "No space left on device")

    def test_non_finite(self):
        run = self.path("run")
        text = self.train("loss that is no number",
            {"optimizer.lr": 1e30, "train.steps": 20, "train.max_bad_steps": 2, "checkpoint.every_steps": 1},
            NON_FINITE,
                          "steps in a row had non-finite losses or gradients; the last step with finite ones was 0; saved at step", run=run, unchanged=False)
        # No step with such values changed a weight.
        steps = sorted(os.listdir(os.path.join(run, "checkpoints")))
        last, before = (tree(os.path.join(run, "checkpoints", s)) for s in (steps[-1], steps[-2]))
        weights = lambda files: [h for path, h in files.items() if path.endswith("model.safetensors")]
        self.assertEqual(weights(last), weights(before))
        self.assertEqual(len(weights(last)), 1)
        self.assertIn("nothing was updated", text)
        # The same for a NaN in the weights that are given.
        folder = self.path("nan")
        shutil.copytree(self.checkpoint, folder)
        path = os.path.join(folder, "model.safetensors")
        content = read(path)
        write(path, content[:-4] + struct.pack("<f", float("nan")))
        self.train("NaN in the weights",
            {"model.config": "", "model.path": folder, "train.steps": 20, "train.max_bad_steps": 1}, NON_FINITE,
                   "non-finite losses or gradients", run=self.path("run2"), unchanged=False)


class ExitCodes(unittest.TestCase):
    def test_the_documented_ones_are_those_of_the_source(self):
        header = read(os.path.join(cli.SOURCE, "launcher/apps/exit_codes.h")).decode()
        in_source = {int(code): name for name, code in re.findall(r"kExit(\w+) = (\d+)", header)}
        page = read(os.path.join(cli.SOURCE, "docs/errors.md")).decode()
        in_docs = {int(code): name for code, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", page, re.M)}
        self.assertEqual(in_docs, in_source)
        self.assertEqual(len(in_source), 8)


if __name__ == "__main__":
    cli.main()
