#!/usr/bin/env python3
"""What saving costs training: time that training waited per save and its share of the time between
saves, with saves beside training and with training stopped for each; runs of both alternate.

  save_stall.py [--preset 20m] [--policy badam] [--ranks 2] [--every 10] [--saves 3] [--rounds 2]
                [--folder WHERE]      WHERE: the disk that is measured, by default the temporary one

Times are of this machine and this disk; nothing here passes or fails.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.path.join(ROOT, "deploy/data/c4_tiny")


def run(args, background, folder):
    """Rows of metrics.jsonl of saves, but for the run's last one, which always stops training."""
    settings = {
        "model.preset": args.preset, "data.train": f"{DATA}/train.bin",
        "data.tokens": 128, "batch.slots": 4, "train.steps": args.every * args.saves + args.every // 2,
        "policy.name": args.policy, "checkpoint.every_steps": args.every, "checkpoint.keep": 1,
        "checkpoint.background": str(background).lower(), "log.every_steps": 1000}
    command = [os.path.join(ROOT, "build/cpu-release/bin/blockstep"), "train", "--run", folder]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    shell = f'source "{ROOT}/deploy/mpi_env.sh" && exec mpirun -n {args.ranks} "$@"'
    done = subprocess.run(["bash", "-c", shell, "bash", *command], text=True, capture_output=True,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    with open(os.path.join(folder, "metrics.jsonl")) as f:
        rows = [json.loads(line) for line in f]
    saves = [r for r in rows if "save/step" in r and r["save/step"] != settings["train.steps"]]
    failed = [r for r in saves if r["save/failed"]]
    if failed:
        sys.exit(f"saves failed: {failed}")
    return saves


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="20m")
    parser.add_argument("--policy", default="badam")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--saves", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder")
    args = parser.parse_args()
    found = {True: [], False: []}
    for k in range(args.rounds):
        for background in (True, False) if k % 2 == 0 else (False, True):
            with tempfile.TemporaryDirectory(dir=args.folder) as folder:
                found[background] += run(args, background, os.path.join(folder, "run"))
    megabytes = found[True][0]["save/bytes"] / 1e6
    print(f"{args.preset}, {args.policy}, {args.ranks} ranks, a save of {megabytes:.0f} MB every "
          f"{args.every} steps, {len(found[True])} saves of each kind; median (smallest, largest)")
    for background, saves in found.items():
        def spread(values):
            return f"{statistics.median(values):8.3f} ({min(values):.3f}, {max(values):.3f})"
        share = [100 * s["save/stall_share"] for s in saves]
        print(f"  {'beside training' if background else 'training stops ':15}"
              f"  stall s {spread([s['save/stall_seconds'] for s in saves])}"
              f"  share of the interval % {spread(share)}"
              f"  save s {spread([s['save/seconds'] for s in saves])}")


if __name__ == "__main__":
    main()
