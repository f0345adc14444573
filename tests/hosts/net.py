"""Hosts on one machine: network namespaces with an interface, a name and an address of their own,
joined by a bridge. Needs root and `ip` (iproute2)."""
import os
import shlex
import signal
import subprocess
import tempfile
import time

PREFIX = "bsh"  # of the namespaces' names


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, text=True)


def possible():
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    try:
        ip("netns", "add", f"{PREFIX}try")
        ip("netns", "del", f"{PREFIX}try")
    except (OSError, subprocess.CalledProcessError) as e:
        return f"no network namespaces here: {e}"
    return None


class Net:
    """Hosts bsh1 ... bshN at 10.77.9.1 ...; `enter` is a program that runs a command in one of them."""

    def __init__(self, hosts):
        self.names = [f"{PREFIX}{i + 1}" for i in range(hosts)]
        self.bridge = f"{PREFIX}br"
        self.down()
        ip("netns", "add", self.bridge)
        ip("-n", self.bridge, "link", "add", "br0", "type", "bridge")
        ip("-n", self.bridge, "link", "set", "br0", "up")
        for i, name in enumerate(self.names):
            ip("netns", "add", name)
            ip("link", "add", f"{PREFIX}v{i}", "netns", name, "type", "veth", "peer", "name", f"p{i + 1}",
               "netns", self.bridge)
            ip("-n", self.bridge, "link", "set", f"p{i + 1}", "master", "br0", "up")
            ip("-n", name, "link", "set", f"{PREFIX}v{i}", "name", "eth0")
            ip("-n", name, "addr", "add", f"10.77.9.{i + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
            os.makedirs(f"/etc/netns/{name}", exist_ok=True)
            with open(f"/etc/netns/{name}/hosts", "w") as f:
                f.write("127.0.0.1 localhost\n")
                f.writelines(f"10.77.9.{j + 1} {n}\n" for j, n in enumerate(self.names))
        with tempfile.NamedTemporaryFile("w", suffix="-enter", delete=False) as f:
            f.write('#!/bin/bash\n# enter HOST COMMAND...: what ssh is between machines.\nhost=$1; shift\n'
                    'exec ip netns exec "$host" unshare --uts bash -c '
                    '\'hostname "$0"; exec bash -c "$*"\' "$host" "$@"\n')
        self.enter = f.name
        os.chmod(self.enter, 0o755)

    def down(self):
        for name in [self.bridge, *self.names]:
            left = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
            for pid in left.stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            hosts = f"/etc/netns/{name}/hosts"
            if os.path.exists(hosts):
                os.remove(hosts)
                os.rmdir(os.path.dirname(hosts))

    def close(self):
        self.down()
        os.remove(self.enter)

    def command(self, host, argv):
        """`argv` on that host."""
        return [self.enter, host, " ".join(shlex.quote(a) for a in argv)]

    def link(self, host, state):
        ip("-n", self.bridge, "link", "set", f"p{self.names.index(host) + 1}", state)
        if state == "up":
            self.wait_for(host)

    def wait_for(self, host):
        """Until the other hosts reach it: a link that is up again carries nothing for a second or more."""
        refused = f"import errno, socket; s = socket.socket(); s.settimeout(1); " \
                  f"exit(s.connect_ex(('10.77.9.{self.names.index(host) + 1}', 9)) != errno.ECONNREFUSED)"
        last_resort = time.monotonic() + 120
        for other in self.names:
            while other != host and subprocess.run(["ip", "netns", "exec", other, "python3", "-c", refused],
                                                   check=False).returncode != 0:
                assert time.monotonic() < last_resort, f"{other} does not reach {host}"
                time.sleep(0.1)

    def sent(self, host):
        """Bytes that have left the host's interface."""
        out = subprocess.run(["ip", "netns", "exec", host, "cat", "/sys/class/net/eth0/statistics/tx_bytes"],
                             check=True, capture_output=True, text=True).stdout
        return int(out)
