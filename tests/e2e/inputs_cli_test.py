"""What a run reads: another model or other data on resume are a change of the maths, another path is none; ranks
that were given different things do not start."""
import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess

import cli
from bad_input import BAD_INPUT, PEERS, STOPPED, USAGE, BadInputTest, read, safetensors, tokens, write


class Inputs(BadInputTest):
    def setUp(self):
        super().setUp()
        self.model = self.path("model.json", self.tiny)
        self.data = shutil.copy(cli.TINY["data.train"], self.path("train.bin"))
        self.settings = {"model.config": self.model, "data.train": self.data, "train.steps": 2}

    def set_model(self, **fields):
        write(self.model, json.dumps(dict(json.loads(self.tiny), **fields)))

    def set_token(self, index, token):
        with open(self.data, "r+b") as f:
            f.seek(1024 + 2 * index)
            f.write(struct.pack("<H", token))

    def resumed(self, name, code, *said, flags=(), **kwargs):
        return self.train(name, self.settings, code, *said, flags=["--resume", "auto", *flags], run=self.run_folder,
                          **kwargs)

    def run_json(self):
        return json.loads(read(os.path.join(self.run_folder, "run.json")))["parts"]

    def test_changed_files_are_changed_maths(self):
        cli.train(self.run_folder, self.settings, mpi=False)
        accept = ["--allow-config-change"]
        theta = json.loads(self.tiny)["rope_theta"]
        self.set_model(rope_theta=500000.0)
        changed = (f"- model.rope_theta: {theta:.15g}\n", "+ model.rope_theta: 500000")
        self.resumed("another RoPE", USAGE, "rank 0: ", "the configuration has changed:\n", *changed, "--allow-config-change")
        # What decides about tensors and heads cannot change under a checkpoint, whoever accepts it.
        self.settings["train.steps"] = 3
        self.set_model(num_attention_heads=2, num_key_value_heads=2, head_dim=16)
        self.resumed("other heads of the same width", BAD_INPUT, "rank 0: checkpoint ",
                     ": model mismatch: num_attention_heads: expected 2, got 4", flags=accept)
        self.set_model()
        tokens = (os.path.getsize(self.data) - 1024) // 2
        self.set_token(500000, 7)
        self.settings["train.steps"] = 2
        self.resumed("other tokens", USAGE, f"- data.train[0]: {tokens} tokens, sampled sha256 ",
                     f"+ data.train[0]: {tokens} tokens, sampled sha256 ")
        shutil.copy(cli.TINY["data.train"], self.data)
        # Accepted, it goes on, says what changed, and is the same maths from then on.
        self.settings["train.steps"] = 3
        self.set_model(rope_theta=500000.0)
        text = cli.train(self.run_folder, self.settings, mpi=False, flags=["--resume", "auto", *accept])
        self.assertIn("changed since the parent run:\n" + changed[0], text)
        self.assertIn(changed[1], text)
        self.assertEqual(len(self.run_json()), 2)
        self.assertIn("is finished", cli.train(self.run_folder, self.settings, flags=["--resume", "auto"]))

    def test_moved_files_are_not(self):
        self.settings.update({"train.steps": 4, "checkpoint.every_steps": 2})
        cli.train(self.run_folder, self.settings, mpi=False)
        moved = self.path("elsewhere")
        os.mkdir(moved)
        for field in ("model.config", "data.train"):
            self.settings[field] = shutil.move(self.settings[field], moved)
        self.assertIn("is finished", cli.train(self.run_folder, self.settings, flags=["--resume", "auto"]))
        again = self.path("again")
        checkpoint = os.path.join(self.run_folder, "checkpoints", self.step.split("/")[-1])
        text = cli.train(again, self.settings, flags=["--resume", checkpoint], mpi=False)
        self.assertNotIn("changed since", text)
        self.assertEqual(len(self.run_json()), 1)

    def test_a_run_goes_on_from_another_folder(self):
        """config.txt names files by absolute paths, so that it is the whole of what a continuation needs."""
        for name in ("here", "there"):
            os.mkdir(self.path(name))
        shutil.copy(self.model, self.path("here/model.json"))
        shutil.copy(self.data, self.path("here/train.bin"))
        first = cli.command("run", {"model.config": "model.json", "data.train": "train.bin", "train.steps": 4,
                                    "checkpoint.every_steps": 2}, mpi=False)
        begun = subprocess.run(first, cwd=self.path("here"), env=cli.environment(), text=True, capture_output=True,
                               stdin=subprocess.DEVNULL)
        self.assertEqual(begun.returncode, 0, begun.stderr)
        run = self.path("here/run")
        shutil.rmtree(os.path.join(run, "checkpoints/step-00000004"))
        again = [cli.BLOCKSTEP, "train", "--config", os.path.join(run, "config.txt"), "--run", run, "--resume", "auto"]
        done = subprocess.run(again, cwd=self.path("there"), env=cli.environment(), text=True, capture_output=True,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(cli.first_step(done.stderr), 2, done.stderr)
        self.assertEqual(cli.weights_hash(done.stderr), cli.weights_hash(begun.stderr))

    def until(self, args, seen):
        """Starts a run that would not end by itself; stops it once `seen` of what it said is true. What it said."""
        process = subprocess.Popen(args, env=cli.environment(), stderr=subprocess.PIPE, text=True,
                                   stdin=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        text = cli.read_until(process, seen)
        process.send_signal(signal.SIGTERM)
        text += process.stderr.read()
        process.stderr.close()
        self.assertEqual(process.wait(), STOPPED, text)
        return text

    def test_full_digests(self):
        """Taken beside training; they see what sampled ones do not."""
        write(self.data, tokens([5, 6, 7, 8] * 800000))
        record = os.path.join(self.run_folder, "inputs.json")
        settings = dict(self.settings, **{"data.val": cli.TINY["data.train"], "train.steps": 100000})
        args = cli.command(self.run_folder, settings, mpi=False)

        def files():
            return json.loads(read(record))["files"] if os.path.exists(record) else {}
        self.until(args, lambda _: "sha256" in files().get("data.val[0]", {}))
        for name, path in ("data.train[0]", self.data), ("data.val[0]", cli.TINY["data.train"]):
            self.assertEqual(files()[name]["sha256"], hashlib.sha256(read(path)).hexdigest())
            self.assertEqual(files()[name]["bytes"], os.path.getsize(path))
        before = files()["data.train[0]"]
        maths = self.run_json()[-1]["maths"]
        self.assertIn(f"sampled sha256 {before['sampled_sha256']}\n", maths)
        self.assertNotIn(before["sha256"], maths)
        self.set_token(4000, 9)  # between what is sampled
        text = self.until([*args, "--resume", "auto"], lambda text: "has changed since" in text)
        self.assertIn(f"blockstep: warning: data.train[0] has changed since this run started: {self.data}: expected sha256 "
                      f"{before['sha256']}, got {hashlib.sha256(read(self.data)).hexdigest()}", text)
        self.assertEqual(len(self.run_json()), 1)
        self.assertEqual(self.run_json()[-1]["maths"], maths)

    def test_weights_that_a_run_began_with(self):
        folder = shutil.copytree(self.checkpoint, self.path("weights"))
        self.settings.update({"model.config": "", "model.path": folder})
        cli.train(self.run_folder, self.settings, mpi=False)
        self.assertIn("model.weights: 1 file, sampled sha256 ", self.run_json()[-1]["maths"])
        path = os.path.join(folder, "model.safetensors")
        write(path, read(path)[:-1] + b"\x01")
        self.resumed("other weights", USAGE, "- model.weights: 1 file", "+ model.weights: 1 file")

    def test_tied_weights_with_a_head_of_their_own(self):
        self.set_model(tie_word_embeddings=True)
        cli.train(self.run_folder, self.settings, mpi=False)
        folder = shutil.copytree(os.path.join(self.run_folder, self.step), self.path("tied"))
        path = os.path.join(folder, "model.safetensors")
        whole = read(path)
        size = struct.unpack("<Q", whole[:8])[0]
        header, data = json.loads(whole[8:8 + size]), whole[8 + size:]
        begin, end = header["model.embed_tokens.weight"]["data_offsets"]
        header["lm_head.weight"] = dict(header["model.embed_tokens.weight"],
                                        data_offsets=[len(data), len(data) + end - begin])
        self.settings.update({"model.config": "", "model.path": folder})
        evaluate = [cli.BLOCKSTEP, "eval", folder, self.data, "--slots", "2"]
        said = f"WARNING: weights {folder}: lm_head.weight is ignored: it differs from model.embed_tokens.weight"
        for head, count in ((data[begin:end], 0), (data[begin:end - 1] + b"\x01", 1)):
            write(path, safetensors(header, data + head))
            text = cli.train(self.path(f"run{count}"), self.settings, ranks=2)
            self.assertEqual(text.count(said), count, text)
            done = subprocess.run(evaluate, capture_output=True, text=True, check=True)
            self.assertEqual(done.stderr.count(said), count, done.stderr)

    def test_ranks_that_were_given_different_things(self):
        """mpirun -n 1 ... : -n 1 ...: one message, no run folder."""
        def differ(name, settings, code, *said, flags=()):
            first = cli.command(self.run_folder, self.settings, ranks=1)
            other = cli.command(self.run_folder, dict(self.settings, **settings), flags=flags)
            self.refused(name, [*first, ":", *other[other.index("-n"):]], code, *said)
            self.assertFalse(os.path.exists(self.run_folder))
        others = "ranks that differ from rank 0: 1"
        for field, value, wanted in (("checkpoint.every_steps", 1, 0), ("eval.slots", 3, 0), ("placement.mode", "pinned", "sharded")):
            differ(field, {field: value}, PEERS,
                   f"rank 1: expected {field}: {wanted} (as on rank 0), got {field}: {value};", others)
        model = self.path("other.json", json.dumps(dict(json.loads(self.tiny), rms_norm_eps=1e-3)))
        differ("another model", {"model.config": model}, PEERS, "rank 1: expected model.rms_norm_eps: ", "(as on rank 0), got model.rms_norm_eps: 0.001")
        data = shutil.copy(self.data, self.path("other.bin"))
        self.data = data
        self.set_token(3, 7)
        differ("other data", {"data.train": data}, PEERS, "rank 1: expected data.train[0]: ", " (as on rank 0), got data.train[0]: ")
        differ("other text to evaluate", {"data.val": data}, PEERS, " (as on rank 0), got data.val[0]: ")
        differ("another folder", {}, PEERS, "rank 1: expected --resume:  (as on rank 0), got --resume: auto",
               flags=["--resume", "auto"])
        differ("an error of one rank's fields", {"train.steps": -1}, USAGE, "rank 1: configuration: 1 error",
               "train.steps: expected >= 1, got -1")
        differ("a file that one rank lacks", {"data.train": self.path("no.bin")}, BAD_INPUT, "rank 1: token file: cannot read ",
               "no.bin")

    def test_what_may_differ(self):
        """The same content under another name, and what is each rank's own."""
        other = shutil.copy(self.data, self.path("copy.bin"))
        first = cli.command(self.run_folder, self.settings, ranks=1)
        second = cli.command(self.run_folder, dict(self.settings, **{"data.train": other, "runtime.threads": 2}))
        done = subprocess.run([*first, ":", *second[second.index("-n"):]], env=cli.environment(), text=True,
                              capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_coordinator_that_sees_no_data(self):
        settings = dict(self.settings, **{"data.train": self.path("not/here.bin")})
        args = [cli.BLOCKSTEP, "coordinator", "--folder", self.path("decider")]
        for name, value in dict(cli.TINY, **settings).items():
            args += ["--set", f"{name}={value}"]
        process = subprocess.Popen(args, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        address = process.stderr.readline().split(" at ")[1].split(",")[0]
        cli.train(self.run_folder, self.settings, flags=["--coordinator", address], ranks=2)
        said = process.stderr.read()
        process.stderr.close()
        self.assertEqual(process.wait(timeout=30), 0, said)
        # Another model is refused.
        process = subprocess.Popen([*args[:3], self.path("decider2"), *args[4:]], stderr=subprocess.PIPE, text=True,
                                   stdin=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        self.addCleanup(process.stderr.close)
        address = process.stderr.readline().split(" at ")[1].split(",")[0]
        self.set_model(rms_norm_eps=1e-3)
        self.run_folder = self.path("run2")
        self.train("another model than the coordinator's", self.settings, PEERS, "rank 0: ", "config_hash: expected",
                   flags=["--coordinator", address])
        process.terminate()
        process.wait(timeout=30)


if __name__ == "__main__":
    cli.main()
