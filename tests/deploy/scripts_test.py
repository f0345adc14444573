"""What our shell scripts say to options without a value: one line that names the option, exit code 2, nothing done.
The options are those of their --help."""
import os
import re
import subprocess
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPTS = ["deploy/bare.sh", "deploy/quickstart.sh", "deploy/setup.sh", "deploy/test.sh", "tests/bench/compare.sh"]


def run(script, *args):
    return subprocess.run(["bash", os.path.join(SOURCE, script), *args], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)


class Scripts(unittest.TestCase):
    def refused(self, script, option, *args):
        with self.subTest(script=script, args=args):
            done = run(script, *args)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertEqual(done.stdout, "")
            self.assertRegex(done.stderr.splitlines()[0], rf"^{os.path.basename(script)}: {option}: expected a .*, got ")

    def test_options_without_a_value(self):
        for script in SCRIPTS:
            done = run(script, "--help")
            self.assertEqual(done.returncode, 0, done.stderr)
            options = sorted(set(re.findall(r"\[(--[a-z-]+) [^\]]", done.stdout)))
            self.assertTrue(options, done.stdout)
            for option in options:
                self.refused(script, option, option)
                self.refused(script, option, option, "")
                self.refused(script, option, option, "--help")
        self.refused("deploy/quickstart.sh", "--ranks", "--ranks", "four")


if __name__ == "__main__":
    unittest.main()
