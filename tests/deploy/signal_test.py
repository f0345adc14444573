"""A test.sh that is told to end takes along the stage under way: what left its process group and its session, and
what does not listen to SIGTERM."""
import os
import signal
import subprocess
import tempfile
import time
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Stands for clang-format in the stage `format`: a child in a session of its own, a deaf one, and a word for the test
# when both are there.
STAGE = """#!/bin/bash
setsid sleep 100000 &
(trap '' TERM; echo $BASHPID >"$ANNOUNCED.deaf"; while :; do sleep 1; done) &
while [[ ! -s $ANNOUNCED.deaf ]]; do sleep 0.01; done
echo "$$ $! $(cat "$ANNOUNCED.deaf")" >"$ANNOUNCED.part"
for pid in $(jobs -p); do echo "$pid" >>"$ANNOUNCED.part"; done
mv "$ANNOUNCED.part" "$ANNOUNCED"
wait
"""


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


class Signals(unittest.TestCase):
    def test_an_ended_script_ends_its_stage(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            with self.subTest(signal=number.name), tempfile.TemporaryDirectory() as folder:
                with open(os.path.join(folder, "clang-format"), "w") as f:
                    f.write(STAGE)
                os.chmod(f.name, 0o755)
                announced = os.path.join(folder, "announced")
                env = dict(os.environ, PATH=folder + ":" + os.environ["PATH"], ANNOUNCED=announced,
                           BLOCKSTEP_TEST_LOGS=os.path.join(folder, "logs"))
                process = subprocess.Popen(
                    ["env", "--default-signal=INT", "bash", os.path.join(SOURCE, "deploy/test.sh"), "--stage", "format"],
                    env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                self.addCleanup(process.kill)
                while not os.path.exists(announced):
                    self.assertIsNone(process.poll())
                    time.sleep(0.01)
                with open(announced) as f:
                    started = [int(pid) for pid in f.read().split()]
                self.assertGreaterEqual(len(started), 4)
                self.assertFalse([pid for pid in started if gone(pid)])
                process.send_signal(number)
                _, said = process.communicate()
                left = [pid for pid in started if not gone(pid)]
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                self.assertEqual(left, [])
                self.assertEqual(process.returncode, code, said)
                self.assertIn(f"ended by {number.name} in stage format", said)


if __name__ == "__main__":
    unittest.main()
