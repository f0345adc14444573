"""`blockstep verify` says so when cases differ or do not run, and its cases are what they are called."""
import os
import stat
import struct

import cli
import coordinated

STEPS = 5
AXES = ["--policies", "full", "--placements", "sharded", "--steps", str(STEPS)]


def records(path):
    """How many the log of a coordinator holds: a head, then reports."""
    with open(path, "rb") as f:
        data = f.read()
    assert data.startswith(b"BSCLOG1\n"), data[:8]
    at, count = 8, 0
    while at < len(data):
        at += 12 + struct.unpack_from("<I", data, at)[0]
        count += 1
    return count


class Verify(coordinated.CoordinatedTest):
    def launcher(self, script):
        """In place of mpirun."""
        path = os.path.join(self.folder.name, "launcher.sh")
        with open(path, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\n" + "".join(f"export {k}={v}\n" for k, v in cli.MPI_ENV.items()) + script)
        os.chmod(path, stat.S_IRWXU)
        return ["--mpirun", path, "--transports", "local,mpi", "--coordinators", "embedded"]

    def verify(self, *args, expect):
        return self.ask("verify", *AXES, "--ranks", "2", "--folder", self.new_run(), *args, expect=expect)

    def test_a_case_that_differs_is_told(self):
        # Of another seed, whatever the case says.
        text = self.verify(*self.launcher('exec mpirun "$@" --set model.init_seed=7\n'), expect=1)
        self.assertIn("DIFFERS", text)
        self.assertIn("NOT EQUAL: 1 differ", text)

    def test_the_same_launcher_without_a_difference(self):
        text = self.verify(*self.launcher('exec mpirun "$@" --set log.every_steps=3\n'), expect=0)
        self.assertIn("2 cases of 5 steps: EQUAL", text)

    def test_a_case_that_does_not_run_shows_nothing(self):
        text = self.verify(*self.launcher("echo no such host; exit 7\n"), expect=1)
        self.assertIn("exit code 7", text)
        self.assertIn("no such host", text)
        self.assertIn("NOT SHOWN", text)

    def test_external_is_a_coordinator_that_decided_every_step(self):
        folder = self.new_run()
        self.ask("verify", *AXES, "--ranks", "1,2", "--coordinators", "external", "--transports", "local", "--folder",
                 folder, expect=0)
        logs = [os.path.join(folder, f"full-{ranks}-sharded-external-local-coordinator/coordinator.log")
                for ranks in (1, 2)]
        self.assertEqual([records(log) for log in logs], [1 + STEPS] * 2)


if __name__ == "__main__":
    cli.main()
