"""deploy/test_report.py: what was skipped is named, with its reason, and not counted as passed; and test.sh's budgets
sum to CI's time."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CI_SECONDS = 45 * 60

GTEST = """[ RUN      ] Loops/All.Equal/3
tests/core/loops_test.cc:20: Skipped
not on this processor

[  SKIPPED ] Loops/All.Equal/3 (0 ms)
[==========] 9 tests from 2 test suites ran. (5 ms total)
[  PASSED  ] 8 tests.
[  SKIPPED ] 1 test, listed below:
[  SKIPPED ] Loops/All.Equal/3
"""
UNITTEST = """test_good (__main__.Places.test_good) ... ok
test_plain (__main__.Places.test_plain) ... skipped 'no mount here'
test_told (__main__.Places.test_told)
With a docstring. ... skipped "it isn't built"
----------------------------------------------------------------------
Ran 5 tests in 0.1s
"""
CASE = '<testcase name="{}" classname="{}" time="1" status="{}">{}<system-out>{}</system-out></testcase>'


class Report(unittest.TestCase):
    def report(self, *cases):
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as f:
            f.write("<testsuite>" + "".join(CASE.format(n, n, s, extra, out) for n, s, extra, out in cases) +
                    "</testsuite>")
            f.flush()
            done = subprocess.run([sys.executable, os.path.join(SOURCE, "deploy/test_report.py"), "release", f.name],
                                  capture_output=True, text=True)
        return done.returncode, done.stdout

    def test_skipped_cases_are_named_and_not_passed(self):
        code, text = self.report(("loops_test", "run", "", GTEST), ("places_test", "run", "", UNITTEST),
                                 ("whole_test", "notrun", '<skipped message="Disabled"/>', ""),
                                 ("shell_test", "run", "", ""), ("red_test", "fail", "", ""))
        self.assertEqual(code, 0, text)
        self.assertEqual(text.splitlines(), [
            "stage release: 3 of 5 test programs passed with 12 cases; 1 failed; 4 cases skipped",
            "  failed:  red_test",
            "  skipped: loops_test: Loops/All.Equal/3: not on this processor",
            "  skipped: places_test: test_plain: no mount here",
            "  skipped: places_test: test_told: it isn't built",
            "  skipped: whole_test: all of it: Disabled"])

    def test_nothing_that_ran_is_no_success(self):
        self.assertEqual(self.report(("whole_test", "notrun", "", ""))[0], 1)

    def test_budgets_sum_to_cis_time(self):
        with open(os.path.join(SOURCE, "deploy/test.sh")) as f:
            text = f.read()
        stages = re.search(r"^stages=\((.*)\)$", text, re.M)[1].split()
        budgets = [int(re.search(rf"^#   {stage} +(\d+) ", text, re.M)[1]) for stage in stages]
        self.assertGreater(len(budgets), 8)
        self.assertLessEqual(sum(budgets), CI_SECONDS)


if __name__ == "__main__":
    unittest.main()
