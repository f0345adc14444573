"""The coordinator as a process of its own: the embedded one's hash, over TLS; killed and started again; gone
for good; asked for its status and to stop the run."""
import itertools
import json
import os
import signal
import time

import cli
import coordinated
from coordinated import POLICY

# Where a coordinator fails: the call that fault_shim.c counts, which one of them, and the step from which
# a restart goes on. Report 24 is the 25th to be made durable; two headers are written before the first.
PLACES = {"idle": None, "decision": (25, 25), "log": (28, 24)}
FAULTS = itertools.product(("KILL", "STOP", "SEGV"), PLACES)


class Coordinator(coordinated.CoordinatedTest):
    def test_as_a_process_over_mutual_tls(self):
        wanted = self.embedded()
        certs = self.new_run()
        self.ask("certs", certs, "--host", "coordinator.example")
        self.assertEqual(os.stat(os.path.join(certs, "ca-key.pem")).st_mode & 0o777, 0o600)
        self.assertIn("is not overwritten", self.ask("certs", certs, expect=3))
        process, folder, address = self.start(flags=["--tls", certs, "--bind", "0.0.0.0:0"])
        port = address.rsplit(":", 1)[1]
        run = self.new_run()
        ranks = self.begin(run, f"127.0.0.1:{port}", mpi=True, flags=["--tls", certs])
        self.assertEqual((cli.weights_hash(self.end(ranks)), cli.blocks(run)), wanted)
        self.assertEqual(process.wait(timeout=cli.LAST_RESORT_S), 0)  # the run is done
        self.assertIn("run finished", process.stderr.read())

    def test_killed_and_restarted_loses_no_step(self):
        wanted = self.embedded()
        process, folder, address = self.start()
        run = self.new_run()
        steps = (10, 30, 50)
        gate = self.gate(*steps)
        ranks = self.begin(run, address, env=gate.env)
        for kill, step in enumerate(steps):
            gate.wait(step, ranks)
            process.kill()
            process.wait()
            gate.open(step)
            process, _, again = self.start(folder=folder)
            self.assertEqual(again, address)
            status = self.ask("status", "--coordinator", address)
            self.assertIn(f"term    {kill + 2}, view 1", status)
        self.assertEqual((cli.weights_hash(self.end(ranks)), cli.blocks(run)), wanted)

    def test_faults_lose_no_step(self):
        wanted = self.embedded()
        for name, place in FAULTS:
            with self.subTest(signal=name, place=place):
                number = getattr(signal, "SIG" + name)
                at, step = PLACES[place] or (0, None)
                env = {"LD_PRELOAD": os.environ["FAULT_SHIM"], "FAULT_CALL": place,
                       "FAULT_RANK": "none", "FAULT_AT": str(at), "FAULT_SIGNAL": str(int(number))}
                process, folder, address = self.start(env=env)
                run = self.new_run()
                gate = self.gate(20)
                ranks = self.begin(run, address, env=gate.env if place == "idle" else {})
                if place == "idle":
                    gate.wait(20, ranks)
                    process.send_signal(number)
                    gate.open(20)
                how = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
                self.assertEqual(how.si_status, number)
                if name == "STOP":
                    time.sleep(1)
                    self.assertIsNone(ranks.poll(), "the run ended without its coordinator")
                    process.send_signal(signal.SIGCONT)
                else:
                    process.wait()
                    self.start(folder=folder)
                    self.assertIn("term 2 at " + address, self.said)
                    if step is not None:
                        self.assertIn(f"from step {step},", self.said)
                self.assertEqual((cli.weights_hash(self.end(ranks)), cli.blocks(run)), wanted)

    def test_gone_for_longer_than_the_grace_saves_and_continues(self):
        wanted = self.embedded()
        process, folder, address = self.start()
        run = self.new_run()
        gate = self.gate(20, mpi=True)
        ranks = self.begin(run, address, dict(POLICY, **{"coordinator.grace_s": 3}), mpi=True, env=gate.env)
        gate.wait(20, ranks)
        self.heartbeats(run)  # every rank knows the same directives
        process.kill()
        process.wait()
        gate.open(20)
        text = self.end(ranks, expect=75)
        self.assertIn(" for 3 s at step ", text)
        self.assertIn("continue with --resume auto", text)
        self.assertIn("checkpoint", text)
        self.start(folder=folder)
        ranks = self.begin(run, address, ranks=3)
        text = self.end(ranks)
        self.assertIn("continued at step", text)
        self.assertEqual((cli.weights_hash(text), cli.blocks(run)), wanted)

    def test_status_and_stop(self):
        wanted = self.embedded()
        # Both kinds of coordinator answer to the run's folder.
        for address in ("", self.start()[2]):
            run = self.new_run()
            gate = self.gate(3)
            ranks = self.begin(run, address, env=gate.env)
            gate.wait(3, ranks)
            status = json.loads(self.ask("status", run, "--json"))
            self.assertEqual(status["total_steps"], "60")
            self.assertEqual([r["rank"] for r in status["ranks"]], [0, 1])
            self.assertTrue(all(r["connected"] for r in status["ranks"]))
            with open(os.path.join(run, "run.json")) as f:
                self.assertEqual(status["run_id"], json.load(f)["parts"][-1]["run_id"])
            self.assertIn("run_id: expected " + status["run_id"] + ", got no",
                          self.ask("stop", run, "--run-id", "no", expect=5))
            self.assertIn("asked run " + status["run_id"], self.ask("stop", run))
            self.heartbeats(run)
            gate.open(3)
            text = self.end(ranks, expect=75)
            self.assertIn("asked to stop; saved at step", text)
            self.assertFalse(os.path.exists(os.path.join(run, "coordinator.json")))
            self.assertIn("coordinator.json", self.ask("status", run, expect=3))
            ranks = self.begin(run, address, ranks=1)
            self.assertEqual((cli.weights_hash(self.end(ranks)), cli.blocks(run)), wanted)

    def test_asked_to_end_before_the_run_is_done(self):
        wanted = self.embedded()
        process, folder, address = self.start()
        run = self.new_run()
        gate = self.gate(10)
        ranks = self.begin(run, address, env=gate.env)
        gate.wait(10, ranks)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=cli.LAST_RESORT_S), 75)
        gate.open(10)
        self.assertIn(f"stopped before the end of the run; start it again with --folder {folder} to continue", process.stderr.read())
        process, _, _ = self.start(folder=folder)
        self.assertEqual((cli.weights_hash(self.end(ranks)), cli.blocks(run)), wanted)
        self.assertEqual(process.wait(timeout=cli.LAST_RESORT_S), 0)

    def test_refusals_on_the_command_line(self):
        self.assertIn("did you mean --folder?", self.ask("coordinator", "--folde", "x", expect=2))
        self.assertIn("did you mean --coordinator?", self.ask("train", "--cordinator=x", expect=2))
        args = ["--folder", self.new_run(), "--bind", "0.0.0.0:0"]
        for name, value in dict(cli.TINY, **POLICY).items():
            args += ["--set", f"{name}={value}"]
        self.assertIn("expected TLS files (blockstep certs makes them) or --insecure",
                      self.ask("coordinator", *args, expect=2))
        self.assertFalse(os.path.exists(args[1]))
        self.assertIn("expected TLS files", self.ask("train", "--coordinator", "192.0.2.1:7",
                                                   *args[4:], expect=2))
        self.assertIn("expected a folder or", self.ask("status", expect=2))
        first, folder, _ = self.start()
        self.assertIn("another coordinator has it open",
                      self.ask("coordinator", "--folder", folder, *args[4:], expect=5))


if __name__ == "__main__":
    cli.main()
