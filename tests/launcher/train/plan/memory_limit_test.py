"""A run that needs more memory than it may have is refused before it has a folder, with one error that names
the phase and the largest class; the same run fits when the limit is what the refusal asked for."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../e2e"))
import cli  # pylint: disable=wrong-import-position


class MemoryLimit(cli.RunTest):
    def refused(self, limit, **kwargs):
        run = self.new_run()
        settings = {"runtime.memory_limit_bytes": limit, "train.steps": 2}
        done = subprocess.run(cli.command(run, settings, **kwargs), env=cli.environment(), text=True,
                              capture_output=True, timeout=100, stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertFalse(os.path.exists(run))
        found = re.findall(r"memory: the process needs ([\d.]+) MiB, the limit is ([\d.]+) MiB .* in phase "
                           r"'([^']+)', mostly ([\w/ ]+) \([\d.]+ MiB\)", done.stderr)
        self.assertEqual(len(found), 1, done.stderr)
        self.assertEqual(found[0][1:], (f"{limit / 1048576:.1f}", "all", "slot/probe"))
        return float(found[0][0])

    def test_refused_once_and_fits_with_what_it_asked_for(self):
        for kwargs in ({"mpi": False}, {"ranks": 2}):
            needs = self.refused(8 << 20, **kwargs)
            self.assertGreater(needs, 8)
            enough = int((needs + 4) * 1048576)
            text = cli.train(self.new_run(), {"runtime.memory_limit_bytes": enough, "train.steps": 2},
                             **kwargs)
            self.assertIn("plan: ", text)
            processes = [f"rank {r}: " for r in range(kwargs["ranks"])] if "ranks" in kwargs else [""]
            self.assertEqual(re.findall(r"(?m)^memory: (.*?)[\d.]+ of [\d.]+ MiB planned, process peak [\d.]+ MiB$",
                                        text), processes, text)

    def test_ranks_of_one_process_are_added(self):
        settings = {"model.config": "", "model.preset": "9m", "train.steps": 2}
        args = [cli.BLOCKSTEP, "estimate", "--json", "--quick", "--ranks", "3"]
        for name, value in dict(cli.TINY, **settings).items():
            args += ["--set", f"{name}={value}"]
        done = subprocess.run(args, text=True, capture_output=True, timeout=60, check=True)
        ranks = [rank["total_bytes"] for rank in json.loads(done.stdout)["ranks"]]
        # Enough for all ranks, but not for the program too.
        settings["runtime.memory_limit_bytes"] = sum(ranks)
        run = self.new_run()
        done = subprocess.run(cli.command(run, settings, ranks=3, mpi=False), env=cli.environment(), text=True,
                              capture_output=True, timeout=100, stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertFalse(os.path.exists(run))


if __name__ == "__main__":
    cli.main()
