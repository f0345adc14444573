#!/usr/bin/env python3
"""Runs over several hosts (network namespaces) with the coordinator on one more: the hash of a run on
one host, bytes at the interfaces, and a link cut in the midst of a step.

  deploy/test.sh --stage hosts, or this with BLOCKSTEP and FAULT_SHIM naming the program and libfault_shim.so
"""
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
import cli  # noqa: E402
import net  # noqa: E402

# What mpirun needs between machines, as docs/running.md gives it.
MCA = {"btl": "self,vader,tcp", "btl_tcp_if_include": "eth0", "oob_tcp_if_include": "eth0",
       "oob_tcp_keepalive_time": "3", "oob_tcp_keepalive_intvl": "1", "oob_tcp_keepalive_probes": "3"}


def read(path):
    with open(path) as f:
        return f.read()


class SeveralHosts(cli.RunTest):
    @classmethod
    def setUpClass(cls):
        why = net.possible()
        if why:
            raise RuntimeError(why)
        cls.net = net.Net(4)  # three that train, one that decides
        cls.addClassCleanup(cls.net.close)

    def setUp(self):
        super().setUp()
        for host in self.net.names:
            self.net.link(host, "up")

    def start_coordinator(self, settings):
        """On the fourth host, with mutual TLS; the settings ranks need to reach it."""
        host = self.net.names[3]
        folder = self.new_run() + "-coordinator"
        tls = folder + "-tls"
        subprocess.run([cli.BLOCKSTEP, "certs", tls, "--host", host], check=True,
                       capture_output=True)
        argv = [cli.BLOCKSTEP, "coordinator", "--folder", folder, "--bind", f"{host}:7077", "--tls", tls]
        for name, value in dict(cli.TINY, **settings).items():
            argv += ["--set", f"{name}={value}"]
        process = subprocess.Popen(self.net.command(host, argv), stderr=subprocess.PIPE, text=True,
                                   stdin=subprocess.DEVNULL)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        line = process.stderr.readline()
        self.assertIn("term ", line)
        return {"coordinator.address": f"{host}:7077", "coordinator.tls_ca": f"{tls}/ca.pem",
                "coordinator.tls_cert": f"{tls}/client.pem", "coordinator.tls_key": f"{tls}/client-key.pem"}

    def launch(self, run, settings, hosts, ranks, flags=(), env=None):
        """A run, and the file with its stderr: not a pipe, since Open MPI's daemon on a host that was cut
        off holds it open until TCP gives up there."""
        fields = dict(cli.TINY, **settings)
        hostfile = os.path.join(self.folder.name, f"hosts{hosts}")
        with open(hostfile, "w") as f:
            f.writelines(f"{h} slots={-(-ranks // hosts)}\n" for h in self.net.names[:hosts])
        argv = ["timeout", "-k", "5", str(cli.LAST_RESORT_S), "mpirun", "--mca", "plm_rsh_agent", self.net.enter]
        for name, value in MCA.items():
            argv += ["--mca", name, value]
        argv += ["--hostfile", hostfile, "--map-by", "node", "-n", str(ranks), cli.BLOCKSTEP, "train",
                 "--run", run, *flags]
        for name, value in fields.items():
            argv += ["--set", f"{name}={value}"]
        log = tempfile.NamedTemporaryFile("w+", dir=self.folder.name)
        self.addCleanup(log.close)
        return subprocess.Popen(self.net.command(self.net.names[0], argv), env=dict(cli.environment(), **(env or {})),
                                stderr=log, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL), log.name

    def train(self, settings, hosts, ranks, run=None, flags=()):
        process, log = self.launch(run or self.new_run(), settings, hosts, ranks, flags)
        process.wait(timeout=cli.LAST_RESORT_S)
        text = read(log)
        self.assertEqual(process.returncode, 0, text)
        return text

    def test_one_hash_on_two_and_three_hosts(self):
        settings = dict(cli.POLICIES["blockllm"], **{"policy.name": "blockllm", "train.steps": 40})
        wanted = cli.weights_hash(cli.train(self.new_run(), settings, ranks=1))
        for hosts, ranks, external in ((2, 4, True), (3, 3, False), (3, 4, True)):
            with self.subTest(hosts=hosts, ranks=ranks, external=external):
                place = self.start_coordinator(settings) if external else {}
                text = self.train(dict(settings, **place), hosts, ranks)
                self.assertEqual(cli.weights_hash(text), wanted)

    def test_bytes_at_the_interfaces(self):
        """The difference of two runs is that of their steps; within 5 % of what estimate says."""
        settings = {"model.config": "", "model.preset": "9m", "data.tokens": 64, "batch.slots": 4,
                    "policy.name": "full", "train.numerics": "fast", "placement.mode": "sharded"}
        hosts = 2
        argv = [cli.BLOCKSTEP, "estimate", "--ranks", str(hosts), "--json"]
        for name, value in dict(cli.TINY, **settings).items():
            argv += ["--set", f"{name}={value}"]
        plan = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
        wanted = [rank["phases"][0]["sent_bytes"] for rank in plan["ranks"]]
        sent = []
        for steps in (2, 8):
            before = [self.net.sent(h) for h in self.net.names[:hosts]]
            self.train(dict(settings, **{"train.steps": steps}), hosts, hosts)
            sent.append([self.net.sent(h) - b for h, b in zip(self.net.names, before)])
        for host in range(hosts):
            step = (sent[1][host] - sent[0][host]) / 6
            print(f"host {host + 1}: {step:.0f} bytes per step at the interface, {wanted[host]} by the formula, "
                  f"ratio {step / wanted[host]:.4f}", flush=True)
            self.assertLess(abs(step / wanted[host] - 1), 0.05)

    def test_a_cut_link(self):
        settings = dict(cli.POLICIES["blockllm"], **{
            "policy.name": "blockllm", "train.steps": 400, "checkpoint.every_steps": 10,
            "coordinator.lease_s": 3})
        wanted = cli.weights_hash(cli.train(self.new_run(), settings, ranks=1))
        run = self.new_run()
        # Rank 0 waits where it has announced a step, with two checkpoints before it; heartbeats go on.
        gate = cli.Gate(self.folder.name, 35)
        process, log = self.launch(run, settings, 3, 3, env=gate.env)
        gate.wait(35, process)
        cli.wait_until(lambda: os.path.isdir(os.path.join(run, "checkpoints", "step-00000020")), process)
        self.net.link(self.net.names[1], "down")
        gate.open(35)
        began = time.monotonic()
        process.wait(timeout=cli.LAST_RESORT_S)
        text = read(log)
        print(f"link cut: exit {process.returncode} after {time.monotonic() - began:.1f} s", flush=True)
        self.assertRegex(text, r"blockstep: rank \d: \w+ \d+: [a-z-]+ .* has waited")
        self.assertIn("LOST: silent for", text)
        self.assertIn(process.returncode, (5, 205, 137, -9), text)
        self.net.link(self.net.names[1], "up")
        again = self.train(settings, 3, 3, run=run, flags=["--resume", "auto"])
        self.assertEqual(cli.weights_hash(again), wanted)


if __name__ == "__main__":
    cli.main()
