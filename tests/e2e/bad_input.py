"""Cases of bad input: a command, its exit code, what it says, and a disk that looks as before."""
import hashlib
import json
import os
import re
import struct
import subprocess
import tempfile

import cli

# exit_codes.h
OK, USAGE, BAD_INPUT, RESOURCES, PEERS, NON_FINITE, STOPPED = 0, 2, 3, 4, 5, 6, 75
# What a run says besides messages.
PROGRESS = re.compile(r"(run|model|plan:|step|checkpoint|memory:|weights sha256|state sha256|blocks sha256|full:) ?")


def tree(folder):
    """Every file with its content's hash, every folder."""
    found = {}
    for path, folders, files in os.walk(folder):
        for name in folders:
            found[os.path.join(path, name)] = "folder"
        for name in files:
            file = os.path.join(path, name)
            found[file] = os.readlink(file) if os.path.islink(file) else hashlib.sha256(read(file)).hexdigest()
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


class BadInputTest(cli.RunTest):
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
            # More lines may only say more of the same message, or what was waited for before it.
            heads = [l for l in text.splitlines() if re.match(r"blockstep\b(?!: waiting for the process that holds)", l)]
            self.assertEqual(len(heads), 1, everything)
            self.assertNotIn("rank 0: rank", text)
            if unchanged:
                self.assertEqual(tree(self.dir), before, everything)
            return everything

    def train(self, name, settings, code, *said, flags=(), ranks=2, mpi=False, run=None, **kwargs):
        args = cli.command(run or self.run_folder, {"train.steps": 2, **settings}, ranks=ranks, mpi=mpi,
            flags=flags)
        return self.refused(name, args, code, *said, **kwargs)
