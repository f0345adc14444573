#!/usr/bin/env python3
"""Holds a run's data ledger (log.data_ledger=true) against what its configuration says it must be:
every slot of every step read by exactly one rank, no token of an epoch twice, none skipped. Ranks and
batch.slots may have changed at every resume; the order of the data (files, data.tokens, seed) may not.

  check_ledger.py RUN [--steps N]     N: steps that are done; default: those of the newest checkpoint
"""
import argparse
import collections
import glob
import json
import os
import re
import struct
import sys


def read(run):
    """Lines of all ranks, each with its rank."""
    lines = []
    for path in sorted(glob.glob(os.path.join(run, "ledger/rank-*.jsonl"))):
        rank = int(re.search(r"rank-(\d+)", path).group(1))
        with open(path) as f:
            lines += [dict(json.loads(line), rank=rank) for line in f]
    return lines


def slots_of_file(path, slot_tokens):
    """Slots of T + 1 tokens, stride T."""
    with open(path, "rb") as f:
        magic, _, tokens = struct.unpack("<3i", f.read(12))
    if magic not in (20240520, 20240801):
        tokens = os.path.getsize(path) // 2
    return (tokens - 1) // slot_tokens


def problems(lines, files, slot_tokens, slots_per_step, steps, first=0):
    """What is wrong in steps [first, steps), a line each; slots_per_step: the numbers that a step may
    have. Knows nothing of the shuffle but that an epoch is a permutation."""
    found = []
    sizes = [slots_of_file(path, slot_tokens) for path in files]
    epoch_slots = sum(sizes)
    by_step = collections.defaultdict(list)
    for line in lines:
        if first <= line["step"] < steps:
            by_step[line["step"]].append(line)
    # A run that began at another one's checkpoint stands somewhere in the data.
    begin = 0 if first == 0 else min((line["position"] for line in by_step[first]), default=0)
    origin = begin
    for step in range(first, steps):
        count = len({line["position"] for line in by_step[step]})
        if count not in slots_per_step:
            found.append(f"step {step}: expected {sorted(slots_per_step)} slots, got {count}")
        wanted = list(range(begin, begin + count))
        for number in range(1 + max((line["pass"] for line in by_step[step]), default=0)):
            positions = sorted(line["position"] for line in by_step[step] if line["pass"] == number)
            if positions != wanted:
                found.append(f"step {step}: pass {number}: expected positions {wanted}, got {positions}")
        begin += count
    readers = {}
    used = collections.defaultdict(set)
    for line in (line for step in range(first, steps) for line in by_step[step]):
        if line["pass"] > 0:  # the step's own tokens again, before it has trained on them
            continue
        if line["epoch"] != line["position"] // epoch_slots:
            found.append(f"position {line['position']} in epoch {line['epoch']} of {epoch_slots} slots")
        if line["first_token"] % slot_tokens != 0:
            found.append(f"position {line['position']}: token {line['first_token']} begins no slot")
        tokens = (line["file"], line["first_token"] // slot_tokens)
        if tokens in used[line["epoch"]]:
            other = readers[line["epoch"], tokens]
            found.append(f"epoch {line['epoch']}: slot {tokens[1]} of file {tokens[0]} is read twice: "
                         f"steps {other['step']} and {line['step']}")
        readers[line["epoch"], tokens] = line
        used[line["epoch"]].add(tokens)
    everything = {(f, slot) for f, size in enumerate(sizes) for slot in range(size)}
    for epoch in range(-(-origin // epoch_slots), begin // epoch_slots):
        if used[epoch] != everything:
            found.append(f"epoch {epoch}: skipped {sorted(everything - used[epoch])[:5]}, "
                         f"not of the files {sorted(used[epoch] - everything)[:5]}")
    return found


def configs(run):
    """The configuration of every part of the run, the newest first, as {section: text}."""
    for path in [os.path.join(run, "config.txt"), *glob.glob(os.path.join(run, "config-*.txt"))]:
        with open(path) as f:
            yield {m[1]: m[2] for m in re.finditer(r"^(\w+) \{\n(.*?)^\}", f.read(), re.M | re.S)}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--steps", type=int)
    args = parser.parse_args()
    parts = list(configs(args.run))
    slot_tokens = int(re.search(r"^  tokens: (\d+)", parts[0]["data"], re.M)[1])
    slots_per_step = {int(re.search(r"^  slots: (\d+)", p["batch"], re.M)[1]) for p in parts}
    files = re.findall(r'^  train: "(.*)"', parts[0]["data"], re.M)
    with open(os.path.join(args.run, "run.json")) as f:
        first = json.load(f)["parts"][0]["from_step"]
    steps = args.steps
    if steps is None:
        manifests = glob.glob(os.path.join(args.run, "checkpoints/step-*/MANIFEST.json"))
        steps = max((int(re.search(r"step-(\d+)/", m)[1]) for m in manifests), default=0)
    lines = read(args.run)
    found = problems(lines, files, slot_tokens, slots_per_step, steps, first)
    for problem in found:
        print(problem)
    slots = len({line["position"] for line in lines if first <= line["step"] < steps})
    epochs = slots / sum(slots_of_file(path, slot_tokens) for path in files)
    print(f"{steps - first} steps, {slots} slots of {slot_tokens} tokens, {epochs:.2f} epochs: "
          + (f"{len(found)} PROBLEMS" if found else "no token twice, none skipped"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
