"""No token twice, none skipped: a run on 4, 2, 3 and 1 ranks in turn, ended in the midst of a
collective, by a signal and in the midst of a save, once taken back to an earlier checkpoint, reads the
slots that an uninterrupted one reads; with another number of slots per step it goes on where it stood."""
import glob
import os
import signal
import struct
import subprocess
import sys

import check_ledger
import cli

SLOTS = 6    # S: a step
TOKENS = 16  # T: a slot
STEPS = 40
# Ranks; what happens in which call of which rank; the exit code.
PARTS = [(4, "message", 3, 1500, signal.SIGKILL, 137), (2, "product", 0, 2500, signal.SIGUSR1, 75),
         (3, "save", 2, 4, signal.SIGSEGV, 139), (1, None, None, None, None, 0)]


def write_tokens(path, slots, seed):
    """A token file of exactly `slots` slots."""
    count = slots * TOKENS + 1
    with open(path, "wb") as f:
        f.write(struct.pack("<3i", 20240520, 1, count).ljust(1024, b"\0"))
        f.write(struct.pack(f"<{count}H", *((seed + i * i) % 251 for i in range(count))))


class DataLedger(cli.RunTest):
    def setUp(self):
        """37 slots an epoch, so that epochs end in the midst of steps, of ranks and of parts."""
        super().setUp()
        self.files = [os.path.join(self.folder.name, name) for name in ("a.bin", "b.bin")]
        write_tokens(self.files[0], 17, seed=3)
        write_tokens(self.files[1], 20, seed=5)
        self.settings = dict(cli.POLICIES["blockllm"], **{
            "policy.name": "blockllm", "train.steps": STEPS, "checkpoint.every_steps": 4,
            "checkpoint.keep_every_steps": 12,
            "log.data_ledger": "true", "data.train": ",".join(self.files)})

    def interrupted(self):
        """The run's folder, the end of its stderr, and how many steps were redone."""
        run = self.new_run()
        redone = 0
        for ranks, call, rank, at, sent, code in PARTS:
            env = cli.environment()
            if call:
                env.update(LD_PRELOAD=os.environ["FAULT_SHIM"], FAULT_CALL=call,
                           FAULT_RANK=str(rank), FAULT_AT=str(at), FAULT_SIGNAL=str(int(sent)))
            if ranks == 3:
                self.forget_newest(run)
            before = max((line["step"] for line in check_ledger.read(run)), default=-1)
            done = subprocess.run(
                cli.command(run, self.settings, ranks=ranks, flags=["--resume", "auto"]), env=env,
                text=True, capture_output=True, timeout=cli.LAST_RESORT_S + 30, stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, code, done.stderr)
            start = cli.first_step(done.stderr)
            redone += before + 1 - start
            print(f"{ranks} ranks from step {start}: exit {code}", flush=True)
        return run, done.stderr, redone

    def forget_newest(self, run):
        checkpoints = os.path.join(run, "checkpoints")
        newest = max(name for name in os.listdir(checkpoints) if not name.endswith(".tmp"))
        os.remove(os.path.join(checkpoints, newest, "MANIFEST.json"))

    def check(self, run):
        done = subprocess.run([sys.executable, check_ledger.__file__, run], text=True,
                              capture_output=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("no token twice, none skipped", done.stdout)
        return done.stdout

    def test_the_slots_and_the_hash_of_an_uninterrupted_run(self):
        whole = self.new_run()
        wanted = cli.weights_hash(cli.train(whole, self.settings, ranks=1))
        run, text, redone = self.interrupted()
        self.assertGreater(redone, 4)
        self.assertEqual(cli.weights_hash(text), wanted)
        self.assertIn(f"{STEPS} steps, {STEPS * SLOTS} slots", self.check(run))
        checkpoints = glob.glob(os.path.join(run, "checkpoints/*/MANIFEST.json"))
        self.assertEqual(sorted(int(path.split("/")[-2].split("-")[1]) for path in checkpoints),
                         [12, 24, 36, 40])
        lines = check_ledger.read(run)
        self.assertEqual({line["rank"] for line in lines}, {0, 1, 2, 3})

        def order(lines):
            fields = ("position", "step", "pass", "epoch", "slot", "file", "first_token")
            return sorted(tuple(line[f] for f in fields) for line in lines)
        self.assertEqual(order(lines), order(check_ledger.read(whole)))

    def test_other_slots_per_step_go_on_where_the_data_stood(self):
        run, steps, slots = self.new_run(), 0, 0
        flags = ["--resume", "auto", "--allow-config-change"]
        for more, per_step in ((5, 6), (7, 4), (3, 9)):
            steps, slots = steps + more, slots + more * per_step
            settings = dict(self.settings, **{"train.steps": steps, "batch.slots": per_step})
            text = cli.train(run, settings, ranks=2, mpi=False, flags=flags)
        self.assertRegex(text, r"- batch.slots: 4\n(.*\n)*\+ batch.slots: 9\n")
        self.assertIn(f"{steps} steps, {slots} slots", self.check(run))
        # Again from a checkpoint in between, as a run of its own.
        fork = self.new_run()
        flags[1] = os.path.join(run, "checkpoints/step-00000012")
        settings = dict(settings, **{"train.steps": 15, "batch.slots": 5})
        cli.train(fork, settings, mpi=False, flags=flags)
        self.assertIn("3 steps, 15 slots", self.check(fork))
        self.assertEqual(min(line["position"] for line in check_ledger.read(fork)), 5 * 6 + 7 * 4)

    def test_another_order_of_the_data_begins_at_its_start(self):
        run = self.new_run()
        cli.train(run, dict(self.settings, **{"train.steps": 4}), mpi=False)
        said = []
        for steps in (6, 8):
            settings = dict(self.settings, **{"train.steps": steps, "data.tokens": 8})
            said.append(cli.train(run, settings, mpi=False,
                                  flags=["--resume", "auto", "--allow-config-change"]))
        self.assertIn("data order changed; restarting the epoch\n  checkpoint: slot 24 of epoch 0, 37 slots of 16 tokens", said[0])
        self.assertNotIn("data order changed", said[1])
        positions = [line["position"] for line in check_ledger.read(run) if line["step"] >= 4]
        self.assertEqual(positions, list(range(4 * SLOTS)))


if __name__ == "__main__":
    cli.main()
