"""--help of every command fits a terminal of 80 columns, and names every flag on a line of its own."""
import re
import subprocess
import unittest

import cli


def output(*args):
    return subprocess.run([cli.BLOCKSTEP, *args], capture_output=True, text=True, check=True, timeout=60).stdout


class Help(unittest.TestCase):
    def test_lines_fit(self):
        commands = re.findall(r"^  (\w+) ", output("--help"), re.M)
        self.assertGreater(len(commands), 8)
        for args in ([], *([command] for command in commands)):
            with self.subTest(args=args):
                text = output(*args, "--help")
                for line in text.splitlines():
                    self.assertLessEqual(len(line), 80, line)
        train = output("train", "--help")
        for flag in ("--config", "--set", "--run", "--resume", "--allow-config-change", "--coordinator"):
            self.assertRegex(train, rf"(?m)^  {flag} ")


if __name__ == "__main__":
    cli.main()
