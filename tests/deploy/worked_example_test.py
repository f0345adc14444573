"""The numbers of docs/architecture.md's example: what the page says, what the rule of sharding gives, what the
program says. Needs BLOCKSTEP."""
import json
import math
import os
import re
import shlex
import subprocess
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BLOCKSTEP = os.environ["BLOCKSTEP"]
RANKS = 2
# How often a row of the table of tensors stands in a decoder layer.
IN_A_LAYER = {"q_proj": 2, "k_proj": 2, "gate_proj": 2, "down_proj": 1, "norms": 2}


def page():
    with open(os.path.join(SOURCE, "docs/architecture.md"), encoding="utf-8") as f:
        text = f.read()
    return text[text.index("## 13. "):text.index("## 14. ")]


def table(text, heading):
    """The rows below the line that begins with `heading`, as lists of cells."""
    lines = text[text.index("\n| " + heading) + 1:].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip()[1:-1].split("|")])
    return rows


def owned(rows, cols, rank):
    """Ranges of whole quanta, written down a second time."""
    quantum = 256 // math.gcd(256, cols)
    share = -(-(-(-rows // quantum)) // RANKS) * quantum
    return min(rank * share, rows), min((rank + 1) * share, rows)


class WorkedExample(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = page()
        command = re.search(r"```\nblockstep (estimate.*?)```", cls.text, re.S).group(1)
        done = subprocess.run([BLOCKSTEP, *shlex.split(command)], cwd=SOURCE, capture_output=True, text=True,
                              timeout=60, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        cls.plan = json.loads(done.stdout)["ranks"]

    def test_phases_are_those_of_the_program(self):
        rows = table(self.text, "phase |")
        self.assertEqual(len(rows), 4)
        got = [[p["label"], str(p["sent_bytes"]), str(q["sent_bytes"]), str(p["bytes"]["gradients"]),
                str(p["bytes"]["state"])] for p, q in zip(self.plan[0]["phases"], self.plan[1]["phases"])]
        self.assertEqual(rows, got)

    def test_weights_and_gather_buffers(self):
        for rank in self.plan:
            for phase in rank["phases"]:
                self.assertIn(f"both hold {phase['bytes']['weights']} bytes", self.text)
                self.assertIn(f"here {phase['bytes']['gather']} bytes", self.text)

    def test_owned_rows_follow_the_rule(self):
        rows = table(self.text, "tensor |")
        self.assertEqual(len(rows), 7)
        of_layer = [0] * RANKS
        for name, shape, quantum, *ranges in rows:
            n, cols = map(int, shape.split(","))
            self.assertEqual(int(quantum), 256 // math.gcd(256, cols), name)
            for rank in range(RANKS):
                begin, end = owned(n, cols, rank)
                self.assertEqual(ranges[rank], f"[{begin}, {end})", name)
                count = sum(c for key, c in IN_A_LAYER.items() if key in name)
                of_layer[rank] += count * (end - begin) * cols
        self.assertIn(f"{sum(of_layer)} elements rank 0 owns {of_layer[0]} and rank 1\n{of_layer[1]}.", self.text)

    def test_the_sum_by_hand_is_the_program_s(self):
        rows = table(self.text, "what |")
        parts = [int(row[3]) for row in rows if row[0]]
        total = re.search(r"\*\*(\d+)\*\*", self.text).group(1)
        self.assertEqual(len(parts), 8)
        self.assertEqual(sum(parts), int(total))
        self.assertEqual(self.plan[0]["phases"][1]["sent_bytes"], int(total))


if __name__ == "__main__":
    unittest.main()
