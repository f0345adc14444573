#!/usr/bin/env python3
"""Table of medians from the JSON lines that compare.sh collects. Ratios are Blockstep / the other."""
import collections
import json
import statistics
import sys

COLUMNS = ("best_tok_s", "median_tok_s", "cpu_tok_s", "rss_mib")


def main():
    runs = collections.defaultdict(lambda: collections.defaultdict(list))
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            run = json.loads(line)
            runs[run["policy"]][run["label"]].append(run)
    for policy, by_label in runs.items():
        ours = by_label["blockstep"]
        flops_per_token = ours[0]["gflop_per_token"]
        peak = max(r["peak_gflops"] for r in ours)
        medians = {
            label: {c: statistics.median(r[c] for r in rs) for c in COLUMNS}
            for label, rs in by_label.items()
        }
        base = medians["blockstep"]
        print(f"\n{ours[0]['preset']}, {policy}; peak {peak:.0f} GF/s, {len(ours)} runs of Blockstep")
        print(f"{'':26}{'tok/s best':>11}{'median':>9}{'by CPU':>9}{'of light':>9}{'RSS MiB':>9}"
              f"{'speed':>8}{'by CPU':>8}{'memory':>8}")
        for label, m in medians.items():
            print(
                f"{label:26}{m['best_tok_s']:11.0f}{m['median_tok_s']:9.0f}{m['cpu_tok_s']:9.0f}"
                f"{100 * m['cpu_tok_s'] * flops_per_token / peak:8.1f}%{m['rss_mib']:9.0f}"
                f"{base['median_tok_s'] / m['median_tok_s']:8.2f}"
                f"{base['cpu_tok_s'] / m['cpu_tok_s']:8.2f}{base['rss_mib'] / m['rss_mib']:8.2f}"
            )
        parts = ours[-1]["parts_ms"]
        total = sum(parts.values())
        print("time by part: " + ", ".join(
            f"{name} {100 * ms / total:.1f} %"
            for name, ms in sorted(parts.items(), key=lambda item: -item[1]) if ms > 0))


if __name__ == "__main__":
    main()
