"""Bad places and bad moments: ports, folders, TLS files, full disks, files that change while they are read, numbers
that are none; and that the documented exit codes are the program's."""
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import unittest

import cli
from bad_input import (BAD_INPUT, NON_FINITE, OK, RESOURCES, STOPPED, USAGE, BadInputTest, read, tree, write)

SPM = os.path.join(os.path.dirname(cli.BLOCKSTEP), "blockstep-spm")


class BadPlaces(BadInputTest):
    def mounted(self, name, options):
        """A small file system of its own, or a skip where this user may not mount."""
        folder = self.path(name)
        os.mkdir(folder)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True,
            text=True)
        if done.returncode != 0:
            self.skipTest(f"no mount here ({done.stderr.strip()}): needs root in a container with CAP_SYS_ADMIN")
        self.addCleanup(subprocess.run, ["umount", folder], check=True)
        return folder

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
            self.refused("port of a coordinator's HTTP taken",
                [cli.BLOCKSTEP, "coordinator", "--folder", self.path("c"), "--http", address, *settings],
                         RESOURCES, "--http " + address, "Address already in use")
        self.train("HTTP for all without a token", {"coordinator.http_address": "0.0.0.0:0"}, USAGE,
            "expected a token, since other hosts can reach it, got none")
        self.train("plaintext to another host", {}, USAGE, "expected TLS files",
            flags=["--coordinator", "192.0.2.1:7"])
        self.train("TLS files missing", {}, BAD_INPUT, "rank 0: TLS file", "ca.pem: No such file or directory",
                   flags=["--coordinator", "127.0.0.1:1", "--tls", self.path("no")])
        pem = self.path("pem")
        os.mkdir(pem)
        for name in ("ca", "client", "client-key"):
            write(os.path.join(pem, name + ".pem"), "text")
        self.train("TLS files of something else", {}, BAD_INPUT, "rank 0: TLS file", "expected PEM",
            flags=["--coordinator", "127.0.0.1:1", "--tls", pem])
        self.train("TLS files without a coordinator", {}, USAGE, "--tls (or BLOCKSTEP_TLS, coordinator.tls_ca): expected --coordinator HOST:PORT with it, got " + pem,
            flags=["--tls", pem])
        self.train("coordinator not there", {"coordinator.grace_s": 0.2}, STOPPED,
            "rank 0: join: gave up after 0.2 s: coordinator 127.0.0.1:1",
                   flags=["--coordinator", "127.0.0.1:1"])
        self.train("folder that cannot be", {}, BAD_INPUT, "rank 0: cannot create run folder /dev/null/run",
            run="/dev/null/run")
        self.train("trace into no folder", {"runtime.trace": self.path("no/trace")}, BAD_INPUT,
            "rank 0: runtime.trace", "no/trace")
        self.train("too little memory", {"runtime.memory_limit_bytes": 1 << 20}, RESOURCES,
            "rank 0: memory: the process needs", "the limit is 1.0 MiB")
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
        self.tokenize("field missing", BAD_INPUT, 'lines.jsonl:2: no field "text" among: txt',
            text="lines.jsonl")
        self.tokenize("tokenizer missing", BAD_INPUT, "no.model", model=self.path("no.model"))
        self.tokenize("no tokenizer", BAD_INPUT, "text.txt", model=self.path("text.txt"))
        write(self.path("out.bin"), "mine")
        self.tokenize("output exists", BAD_INPUT, "out.bin: exists; choose a new name, or pass --overwrite")

    def test_run_in_use(self):
        """A second start in the same folder would save under the first."""
        run = self.path("run")
        settings = {"train.steps": 100000, "coordinator.lease_s": 2}
        first = subprocess.Popen(cli.command(run, settings, mpi=False), env=cli.environment(), text=True,
                                 stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.addCleanup(first.kill)
        while not first.stderr.readline().startswith("step 1/"):
            self.assertIsNone(first.poll())
        first.send_signal(signal.SIGSTOP)
        os.waitpid(first.pid, os.WUNTRACED)  # all its threads have stopped
        self.train("in use", settings, RESOURCES, "rank 0: run folder " + run, "in use by process",
                   flags=["--resume", "auto"], run=run)
        first.send_signal(signal.SIGCONT)
        first.send_signal(signal.SIGTERM)
        said = first.stderr.read()
        first.stderr.close()
        self.assertEqual(first.wait(timeout=60), STOPPED, said)

    def test_read_only_folder(self):
        folder = self.mounted("ro", "size=1m,ro")
        self.train("read-only folder", {}, RESOURCES, "rank 0: cannot create run folder",
            "Read-only file system", run=os.path.join(folder, "run"))

    def copy(self, name):
        """The good run, as a folder to be spoiled."""
        return shutil.copytree(self.good, self.path(name))

    def test_lost_checkpoints(self):
        """What would be read as "none saved yet" starts again from step 0 and cuts the metrics: refused."""
        def gone(run):
            shutil.rmtree(os.path.join(run, "checkpoints"))

        def link(run):
            gone(run)
            os.symlink("/no/where", os.path.join(run, "checkpoints"))

        def file(run):
            gone(run)
            write(os.path.join(run, "checkpoints"), "text")
        manifest = os.path.join(self.step, "MANIFEST.json")
        for name, spoil, said in [
                ("damaged manifest", lambda run: write(os.path.join(run, manifest), "{"), "step-00000002"),
                ("no manifest", lambda run: os.remove(os.path.join(run, manifest)), "step-00000002"),
                ("no folder of a step", lambda run: shutil.rmtree(os.path.join(run, self.step)), "no step-<n> folder"),
                ("no checkpoints", gone, "no step-<n> folder"),
                ("link to nowhere", link, "cannot list"),
                ("a file", file, "cannot list")]:
            run = self.copy(name.replace(" ", "-"))
            spoil(run)
            self.train(name, {}, BAD_INPUT, "rank 0: run " + run, said, "choose a new --run folder, or remove " + run,
                       run=run, flags=["--resume", "auto"])

    def test_damaged_newest(self):
        settings = {"train.steps": 4, "checkpoint.every_steps": 1, "checkpoint.keep": 2}
        run, auto = self.path("run"), ["--resume", "auto"]
        cli.train(run, settings, mpi=False)
        step = lambda n: os.path.join(run, "checkpoints", f"step-0000000{n}")
        weights = os.path.join(step(4), "model.safetensors")
        whole = read(weights)
        write(weights, whole[:-1] + bytes([whole[-1] ^ 1]))
        longer = dict(settings, **{"train.steps": 6})
        longer_flags = [*auto, "--allow-config-change"]
        advice = f"remove {step(4)} to let --resume auto take the previous one, {step(3)}"
        self.train("weights", longer, BAD_INPUT, "corrupt", advice, run=run, flags=longer_flags)
        write(os.path.join(step(4), "MANIFEST.json"), "{")
        text = cli.train(run, settings, mpi=False, flags=auto)
        self.assertRegex(text, rf"continued at step 3\nnewer, but skipped: {step(4)}: .*MANIFEST.json: not a")
        shutil.rmtree(step(3))
        write(weights, whole[:-1] + bytes([whole[-1] ^ 1]))
        self.assertNotIn("the previous one", self.train(
            "the only one", longer, BAD_INPUT, "corrupt", run=run, flags=longer_flags))

    def test_killed_before_the_first_save(self):
        run = self.path("run")
        first = subprocess.Popen(cli.command(run, {"train.steps": 100000}, mpi=False), env=cli.environment(),
                                 text=True, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        while not first.stderr.readline().startswith("step 1/"):
            self.assertIsNone(first.poll())
        first.kill()
        first.communicate()
        text = cli.train(run, {"train.steps": 2}, mpi=False,
                         flags=["--resume", "auto", "--allow-config-change"])
        self.assertRegex(text, r"(?m)^no checkpoint found; starting over from step 0$")

    def test_finished_on_a_read_only_disk(self):
        disk = self.mounted("disk", "size=4m")
        run = shutil.copytree(self.good, os.path.join(disk, "run"))
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for ranks in (1, 2):
            self.train("finished", {}, OK, "the run is finished (step 2 of 2)", run=run, ranks=ranks,
                       flags=["--resume", "auto"])
        self.train("unfinished", {"train.steps": 4}, RESOURCES, "Read-only file system", run=run,
                   flags=["--resume", "auto", "--allow-config-change"])

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

    def test_one_rank_fails_alone(self):
        """A token file loses its end while it is read: the rank whose slots are gone says so, with its code; the
        others do not wait for it."""
        step, slots, per_slot = 300, 6, 16
        for mpi in (False, True):
            with self.subTest(mpi=mpi):
                data = shutil.copy(cli.TINY["data.train"], self.path(f"train{mpi}.bin"))
                gate = cli.Gate(self.folder.name, 1, rank=0 if mpi else "none")
                args = cli.command(self.path(f"run{mpi}"), {"data.train": data, "data.order": "file",
                                                            "train.steps": 5000}, ranks=2, mpi=mpi)
                process = subprocess.Popen(args, env=dict(cli.environment(), **gate.env), stderr=subprocess.PIPE,
                                           text=True, stdin=subprocess.DEVNULL)
                self.addCleanup(process.kill)
                gate.wait(1, process)
                # What rank 0 reads of that step is there, rank 1's part is not.
                os.truncate(data, 1024 + 2 * (step * slots * per_slot + 3 * per_slot + 1))
                gate.open(1)
                text = process.stderr.read()
                process.stderr.close()
                self.assertEqual(process.wait(timeout=60), BAD_INPUT, text)
                said = [l for l in text.splitlines() if l.startswith("blockstep")]
                self.assertEqual(len(said), 1, text)
                self.assertRegex(said[0], r"^blockstep: rank 1: token file .*\.bin: .*truncated while open")
                self.assertEqual(cli.blocks(self.path(f"run{mpi}"))[-1][0], step - 1)

    def test_non_finite(self):
        run = self.path("run")
        text = self.train("loss that is no number",
            {"optimizer.lr": 1e30, "train.steps": 20, "train.max_bad_steps": 2, "checkpoint.every_steps": 1},
            NON_FINITE,
                          "consecutive steps with non-finite losses or gradients; last finite step: 0; saved at step", run=run, unchanged=False)
        # No step with such values changed a weight.
        steps = sorted(os.listdir(os.path.join(run, "checkpoints")))
        last, before = (tree(os.path.join(run, "checkpoints", s)) for s in (steps[-1], steps[-2]))
        weights = lambda files: [h for path, h in files.items() if path.endswith("model.safetensors")]
        self.assertEqual(weights(last), weights(before))
        self.assertEqual(len(weights(last)), 1)
        self.assertIn("update skipped", text)
        # The same for a NaN in the weights that are given.
        folder = self.path("nan")
        shutil.copytree(self.checkpoint, folder)
        path = os.path.join(folder, "model.safetensors")
        content = read(path)
        write(path, content[:-4] + struct.pack("<f", float("nan")))
        self.train("NaN in the weights",
            {"model.config": "", "model.path": folder, "train.steps": 20, "train.max_bad_steps": 1}, NON_FINITE,
                   "1 step with non-finite losses or gradients; no finite step", run=self.path("run2"),
                   unchanged=False)


class ExitCodes(unittest.TestCase):
    def test_the_documented_ones_are_those_of_the_source(self):
        header = read(os.path.join(cli.SOURCE, "launcher/cli/exit_codes.h")).decode()
        in_source = {int(code): name for name, code in re.findall(r"kExit(\w+) = (\d+)", header)}
        page = read(os.path.join(cli.SOURCE, "docs/errors.md")).decode()
        in_docs = {int(code): name for code, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", page, re.M)}
        self.assertEqual(in_docs, in_source)
        self.assertEqual(len(in_source), 8)


if __name__ == "__main__":
    cli.main()
