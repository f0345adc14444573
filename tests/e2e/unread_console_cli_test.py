"""A console that nobody reads does not hold a run up: its stderr and stdout are a full pipe, and it ends by itself."""
import fcntl
import json
import os
import re
import socket
import subprocess
import threading
import time

import cli

STEPS = 40
SETTINGS = {"train.steps": STEPS, "checkpoint.every_steps": 5, "log.every_steps": 1}


class Pipe:
    """As small as a pipe can be, and full."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        self.filled = b"." * fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        assert os.write(self.writer, self.filled) == len(self.filled)

    def read_all(self):
        text = b""
        while part := os.read(self.reader, 65536):
            text += part
        assert text.startswith(self.filled)
        return text[len(self.filled):].decode()

    def close_writer(self):
        os.close(self.writer)


def steps_done(run):
    try:
        with open(os.path.join(run, "metrics.jsonl")) as f:
            return sum('"loss"' in line and line.endswith("\n") for line in f)
    except FileNotFoundError:
        return 0


class UnreadConsole(cli.RunTest):
    def start(self, **how):
        pipe = Pipe()
        run = self.new_run()
        command = cli.command(run, SETTINGS, **how)
        # Without mpirun, which reads its ranks' output whatever becomes of its own.
        command = command[command.index(cli.BLOCKSTEP):]
        process = subprocess.Popen(command, env=cli.environment(), stdin=subprocess.DEVNULL, stdout=pipe.writer,
                                   stderr=pipe.writer)
        self.addCleanup(process.kill)
        pipe.close_writer()
        return run, process, pipe

    def test_the_run_ends_by_itself(self):
        for how in ({"mpi": False, "ranks": 2}, {"mpi": True}):
            with self.subTest(**how):
                run, process, pipe = self.start(**how)
                self.assertEqual(process.wait(timeout=240), 0)
                self.assertEqual(len(cli.blocks(run)), STEPS)
                self.assertIn(f"step-{STEPS:08d}", os.listdir(os.path.join(run, "checkpoints")))
                os.close(pipe.reader)

    def test_a_reader_that_comes_back_gets_what_was_said_meanwhile(self):
        run, process, pipe = self.start(mpi=False, ranks=2)
        last_resort = time.monotonic() + 240
        while steps_done(run) < STEPS // 2:  # well after the pipe was full, and before the end
            self.assertIn(process.poll(), (None, 0))
            self.assertLess(time.monotonic(), last_resort, "the run stands still")
            time.sleep(0.01)
        text = []
        reads = threading.Thread(target=lambda: text.append(pipe.read_all()))
        reads.start()
        self.assertEqual(process.wait(timeout=240), 0)
        reads.join()
        cli.weights_hash(text[0])
        shown = [int(step) for step in re.findall(rf"^step (\d+)/{STEPS} ", text[0], re.M)]
        self.assertEqual(shown, list(range(1, STEPS + 1)), text[0])

    def test_strangers_at_the_coordinators_port_do_not_hold_the_run_up(self):
        run, process, pipe = self.start(mpi=False, ranks=2)
        cli.wait_until(lambda: os.path.exists(os.path.join(run, "coordinator.json")), process)
        with open(os.path.join(run, "coordinator.json"), encoding="utf-8") as f:
            host, port = json.load(f)["address"].rsplit(":", 1)
        for _ in range(5):  # gRPC has something to say of each
            with socket.create_connection((host, int(port))) as stranger:
                stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
                stranger.recv(1)
        self.assertEqual(process.wait(timeout=240), 0)
        os.close(pipe.reader)

    def test_an_error_ends_with_its_code(self):
        pipe = Pipe()
        process = subprocess.Popen(cli.command(self.new_run(), {"data.train": "/nowhere.bin"}, mpi=False),
                                   stdin=subprocess.DEVNULL, stdout=pipe.writer, stderr=pipe.writer)
        self.addCleanup(process.kill)
        pipe.close_writer()
        self.assertEqual(process.wait(timeout=240), 3)


if __name__ == "__main__":
    cli.main()
