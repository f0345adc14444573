"""What people do to a run and its coordinator, and what they are told: a checkpoint asked for, a stop while the
coordinator is gone, a full disk, another build, a coordinator that does not answer."""
import json
import os
import re
import resource
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request

import cli
import coordinated
from coordinated import POLICY

SLOW = dict(POLICY, **{"train.steps": 500})


def patched(folder):
    """The program as other sources would have made it: only its name of them differs."""
    with open(cli.BLOCKSTEP, "rb") as f:
        program = f.read()
    mine = re.findall(rb"blockstep [0-9.]+ sources [0-9a-f]{16}", program)
    assert len(set(mine)) == 1, mine
    other = mine[0][:-4] + (b"0000" if mine[0][-4:] != b"0000" else b"1111")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "blockstep")
    with open(path, "wb") as f:
        f.write(program.replace(mine[0], other))
    os.chmod(path, 0o755)
    return path, mine[0].decode(), other.decode()


def listening(port):
    """Local addresses that listen on a port, as /proc/net/tcp writes them."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as f:
            for row in f.read().splitlines()[1:]:
                address, state = row.split()[1], row.split()[3]
                if state == "0A" and int(address.split(":")[1], 16) == port:
                    found.append(address.split(":")[0])
    return found


def health(port):
    """The HTTP status of a coordinator's /healthz."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=cli.LAST_RESORT_S) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code


class Operators(coordinated.CoordinatedTest):
    def test_a_checkpoint_when_somebody_asks(self):
        wanted = self.embedded()
        for address in ("", self.start()[2]):
            run = self.new_run()
            gate = self.gate(3, mpi=True)
            ranks = self.begin(run, address, mpi=True, env=gate.env)
            gate.wait(3, ranks)
            self.assertFalse(os.path.exists(os.path.join(run, "checkpoints")))
            self.assertIn("run_id: expected", self.ask("save", run, "--run-id", "no", expect=5))
            self.assertIn(" to save; it ", self.ask("save", run))
            self.heartbeats(run)
            gate.open(3)
            text = self.end(ranks)
            self.assertEqual((cli.weights_hash(text), cli.blocks(run)), wanted)
            saved = [int(name[5:]) for name in sorted(os.listdir(os.path.join(run, "checkpoints")))]
            self.assertEqual(len(saved), 2, saved)
            self.assertLess(saved[0], 60)
            self.assertEqual(saved[1], 60)
            # It is a checkpoint as any other: a run from it comes to the same end.
            again = cli.train(self.new_run(), POLICY, mpi=False,
                              flags=["--resume", os.path.join(run, "checkpoints", f"step-{saved[0]:08d}")])
            self.assertEqual(cli.weights_hash(again), wanted[0])

    def test_a_stop_is_heard_while_the_coordinator_is_gone(self):
        wanted = self.embedded()
        process, folder, address = self.start()
        run = self.new_run()
        gate = self.gate(20, mpi=True)
        # With a grace without end: what ends the run is the signal.
        ranks = self.begin(run, address, dict(POLICY, **{"coordinator.grace_s": 100000}), mpi=True, env=gate.env)
        gate.wait(20, ranks)
        self.heartbeats(run)  # every rank knows the same directives
        process.kill()
        process.wait()
        gate.open(20)
        self.wait_until_said(ranks, "waiting for the coordinator")
        for pid in cli.ranks_of(ranks.pid):
            os.kill(pid, signal.SIGUSR1)
        text = self.end(ranks, expect=75)
        self.assertIn(f"asked to stop while waiting for coordinator {address}", text)
        self.assertRegex(text, r"the last call: \w+: .*refused")
        self.assertIn("; saved at step", text)
        self.start(folder=folder)
        text = self.end(self.begin(run, address, ranks=3))
        self.assertEqual((cli.weights_hash(text), cli.blocks(run)), wanted)

    def test_a_second_ctrl_c_ends_at_once_and_the_last_checkpoint_stands(self):
        wanted = self.embedded(SLOW)
        run = self.new_run()
        saves = dict(SLOW, **{"checkpoint.every_steps": 100})
        gate = self.gate(110)
        first = self.begin(run, "", saves, ranks=1, env=gate.env)
        gate.wait(110, first)
        first.send_signal(signal.SIGINT)
        gate.open(110)
        self.assertIn("asked to stop; saved at step", self.end(first, expect=75))
        folder = os.path.join(run, "checkpoints")
        last = sorted(os.listdir(folder))[-1]
        # Its only save is the one that Ctrl-C asks for; a file of it never becomes durable.
        gate = self.gate(3)
        hangs = cli.Gate(self.folder.name, 6, call="save", rank="none", prefix="FAULT2")
        second = self.begin(run, "", SLOW, ranks=1, env={**gate.env, **hangs.env})
        gate.wait(3, second)
        second.send_signal(signal.SIGINT)
        gate.open(3)
        hangs.wait(6, second)
        self.assertTrue(any(n.endswith(".tmp") for n in os.listdir(folder)), os.listdir(folder))
        second.send_signal(signal.SIGINT)
        self.end(second, expect=-signal.SIGINT)  # a shell says 130
        text = self.end(self.begin(run, "", SLOW))
        self.assertIn(f"continued at step {int(last[5:])}\n", text)
        self.assertEqual((cli.weights_hash(text), cli.blocks(run)), wanted)

    def test_clocks_that_are_set_change_nothing(self):
        settings = SLOW
        wanted = self.embedded(settings)
        day = 86400

        def clock(seconds, after):
            return {"LD_PRELOAD": os.environ["FAULT_SHIM"], "FAULT_CLOCK": str(seconds),
                    "FAULT_CLOCK_AFTER": str(after)}
        _, _, address = self.start(settings, env=clock(day, 1))
        run = self.new_run()
        # Both clocks jump while the run is on; a later start of the workers has an earlier time.
        gate = self.gate(250)
        ranks = self.begin(run, address, settings, env={**gate.env, **clock(-day, 1)})
        gate.wait(250, ranks)
        self.assertIn("asked run", self.ask("stop", run))
        self.heartbeats(run)  # one a second: both clocks have jumped by then
        gate.open(250)
        self.end(ranks, expect=75)
        ranks = self.begin(run, address, settings, env=clock(-2 * day, 0))
        self.assertEqual((cli.weights_hash(self.end(ranks)), cli.blocks(run)), wanted)

    def test_waiting_is_said_once(self):
        process, _, address = self.start()
        gate = self.gate(20, mpi=True)
        run = self.new_run()
        ranks = self.begin(run, address, mpi=True, env=gate.env)
        gate.wait(20, ranks)
        self.heartbeats(run)  # every rank knows the same directives
        process.send_signal(signal.SIGSTOP)
        gate.open(20)
        self.wait_until_said(ranks, "waiting for the coordinator")
        time.sleep(3)  # in which it would be said again
        process.send_signal(signal.SIGCONT)
        text = self.end(ranks)
        said = re.findall(r"blockstep: waiting for the coordinator at (\S+) to decide step \d+, no contact for "
                          r"(\d+) s \(coordinator.grace_s 60", text)
        self.assertEqual(len(said), 1, text)
        self.assertEqual(said[0][0], address)
        self.assertEqual(text.count("waiting for the coordinator"), 1, text)

    def test_a_full_disk_stops_the_clock_not_the_run(self):
        wanted = self.embedded()
        for again in ("in place", "after a restart"):
            with self.subTest(goes_on=again):
                process, folder, address = self.start(flags=["--http", "127.0.0.1:0"])
                port = int(re.search(r"http port (\d+)", self.said)[1])
                run = self.new_run()
                gate = self.gate(10)
                ranks = self.begin(run, address, env=gate.env)
                gate.wait(10, ranks)
                log = os.path.join(folder, "coordinator.log")
                # The next record fits by half; a new file does not fit at all.
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE,
                                 (64, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
                gate.open(10)
                cli.wait_until(lambda: health(port) == 503, ranks)
                # Steps decided before go on, and no others.
                self.assertLess(len(cli.blocks(run)), 20)
                self.assertIsNone(ranks.poll())
                self.assertTrue(os.path.getsize(log) > 64)
                if again == "in place":
                    resource.prlimit(process.pid, resource.RLIMIT_FSIZE,
                                     (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                else:
                    process.kill()
                    process.wait()
                    self.start(folder=folder)
                    self.assertIn("term 2 at " + address, self.said)
                self.assertEqual((cli.weights_hash(self.end(ranks)), cli.blocks(run)), wanted)

    def test_another_build_is_refused_by_both_names(self):
        program, mine, other = patched(self.new_run())
        self.assertEqual(self.ask("--version").split(", commit ")[0], mine)
        _, folder, address = self.start()
        run = self.new_run()
        command = cli.command(run, POLICY, mpi=False, flags=["--coordinator", address])
        text = self.run_program([program, *command[1:]], expect=5)
        self.assertIn(f"build: expected {mine}, got {other}", text)
        self.assertFalse(os.path.exists(os.path.join(run, "checkpoints")) and
                         os.listdir(os.path.join(run, "checkpoints")))
        # The log of another build.
        process, folder, _ = self.start()
        process.kill()
        process.wait()
        args = [program, "coordinator", "--folder", folder]
        for name, value in dict(cli.TINY, **POLICY).items():
            args += ["--set", f"{name}={value}"]
        text = self.run_program(args, expect=5)
        self.assertIn(f"coordinator.log: build: expected {other}, got {mine}", text)

    def test_an_embedded_coordinator_stays_on_its_machine(self):
        run = self.new_run()
        gate = self.gate(3, mpi=True)
        ranks = self.begin(run, "", mpi=True, env=gate.env)
        gate.wait(3, ranks)
        with open(os.path.join(run, "coordinator.json")) as f:
            contact = json.load(f)
        host, port = contact["address"].rsplit(":", 1)
        self.assertEqual(host, "127.0.0.1")
        self.assertEqual(contact["host"], socket.gethostname())
        # As IPv4, or as IPv6 stands for it.
        self.assertIn(listening(int(port)), (["0100007F"], ["0000000000000000FFFF00000100007F"]))
        self.assertIn("asked run", self.ask("stop", run))
        self.heartbeats(run)
        gate.open(3)
        self.end(ranks, expect=75)

    def test_status_of_what_does_not_answer_is_one_clear_line(self):
        certs, others = self.new_run(), self.new_run()
        self.ask("certs", certs)
        self.ask("certs", others)
        _, _, tls = self.start(flags=["--tls", certs, "--bind", "127.0.0.1:0"])
        stopped, plain_folder, plain = self.start()
        dead_process, dead_folder, dead = self.start()
        dead_process.kill()
        dead_process.wait()
        stopped.send_signal(signal.SIGSTOP)
        _, _, alive = self.start()
        cases = {
            "dead": ([dead_folder], "cannot connect: Connection refused"),
            "dead by address": (["--coordinator", dead], "cannot connect: Connection refused"),
            "no such host": (["--coordinator", "no-such-host.invalid:1"], "cannot find host no-such-host.invalid"),
            "stopped": ([plain_folder], "did not respond; is the process stopped?"),
            "another authority": (["--coordinator", tls, "--tls", others], "TLS handshake failed"),
            "plaintext to TLS": (["--coordinator", tls], "does not speak plaintext"),
            "TLS to plaintext": (["--coordinator", alive, "--tls", certs], "TLS handshake failed"),
            "no port": (["--coordinator", "127.0.0.1"], "expected host:port"),
        }
        for name, (args, wanted) in cases.items():
            with self.subTest(case=name):
                expect = 2 if name == "no port" else 5
                text = self.ask("status", *args, expect=expect)
                self.assertEqual(text.count("\n"), 1, text)
                self.assertTrue(text.startswith("blockstep status: "), text)
                self.assertIn(wanted, text)
        # A run whose coordinator was a process of its own, and died: asked on this host, and elsewhere.
        run, process = self.new_run(), self.start()
        gate = self.gate(3)
        ranks = self.begin(run, process[2], env=gate.env)
        gate.wait(3, ranks)
        process[0].kill()
        path = os.path.join(run, "coordinator.json")
        self.assertTrue(self.ask("status", run, expect=5).endswith(f"host down? ({path})\n"))
        with open(path) as f:
            contact = json.load(f)
        with open(path, "w") as f:
            json.dump(dict(contact, host="elsewhere"), f)
        self.assertIn("has a loopback address of elsewhere: run this on that host",
                      self.ask("status", run, expect=5))
        ranks.kill()
        ranks.communicate()
        self.assertIn("coordinator.json: does not exist", self.ask("status", self.new_run(), expect=3))
        self.assertIn("TLS handshake failed", self.ask("stop", "--coordinator", tls, "--tls", others, expect=5))

    def test_a_join_that_can_never_fit_says_so_and_does_not_wait(self):
        certs, others, mixed = self.new_run(), self.new_run(), self.new_run()
        self.ask("certs", certs)
        self.ask("certs", others)
        shutil.copytree(certs, mixed)
        for name in ("client.pem", "client-key.pem"):
            shutil.copy(os.path.join(others, name), mixed)
        unlike = shutil.copytree(certs, self.new_run())
        shutil.copy(os.path.join(others, "client-key.pem"), unlike)
        _, _, tls = self.start(flags=["--tls", certs])
        _, _, plain = self.start()
        cases = {  # coordinator, folder of ours, exit code, what is said
            "another authority": (tls, others, 5, "TLS handshake failed; expected unexpired certificates of one authority"),
            "a client of another authority": (tls, mixed, 5, "TLS handshake failed; expected unexpired certificates of one authority"),
            "plaintext to TLS": (tls, None, 5, "does not speak plaintext; pass --tls"),
            "TLS to plaintext": (plain, certs, 5, "TLS handshake failed; expected"),
            "a key of another certificate": (tls, unlike, 3, "client-key.pem: expected the key of"),
        }
        for name, (address, folder, code, wanted) in cases.items():
            with self.subTest(case=name):
                run = self.new_run()
                # A grace without end: waiting would be a hang.
                ranks = self.begin(run, address, dict(POLICY, **{"coordinator.grace_s": 100000}),
                                   flags=["--tls", folder] if folder else [])
                text = self.end(ranks, expect=code)
                said = [line for line in text.splitlines() if line.startswith("blockstep: ")]
                self.assertEqual(len(said), 1, text)
                self.assertIn(wanted, said[0])
                self.assertIn(address if code == 5 else unlike, said[0])
                self.assertFalse(os.path.exists(run), "nothing is written")


if __name__ == "__main__":
    cli.main()
