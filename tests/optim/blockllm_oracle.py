#!/usr/bin/env python3
"""Independent oracle of BlockLLM's block sequence (arXiv 2406.17296), written from the rules, not from optim/.

    blockllm_oracle.py            writes blockllm_cases.json beside this file
    blockllm_oracle.py --check    exits 1 if the committed file differs from what it would write

Needs numpy only. Losses are integers over a power of two, so that a mean has one value whatever the order of
its sum; squared norms are small integers in some cases, so that ties happen.
"""
import argparse
import json
import pathlib

import numpy as np

OUT = pathlib.Path(__file__).with_name("blockllm_cases.json")
TOKENS = 2048
EMBEDDING, LAYER, HEAD = "embedding", "layer", "head"


class Model:
    """Tensors as (rows, cols, unit, is_vector), units by kind; head: final norm, then the matrix unless tied."""

    def __init__(self, vocab, hidden, inner, layers, tied=False):
        self.tied, self.units, self.tensors = tied, [EMBEDDING] + [LAYER] * layers + [HEAD], []
        self.tensors.append((vocab, hidden, 0, False))
        for unit in range(1, layers + 1):
            for rows, cols in [(hidden, hidden)] * 4 + [(inner, hidden)] * 2 + [(hidden, inner)]:
                self.tensors.append((rows, cols, unit, False))
            self.tensors += [(hidden, 1, unit, True)] * 2
        self.tensors.append((hidden, 1, layers + 1, True))
        if not tied:
            self.tensors.append((vocab, hidden, layers + 1, False))

    def sizes(self):
        return np.array([t[0] * t[1] for t in self.tensors], dtype=np.int64)

    def treatment(self, index, embedding, final_norm):
        _, _, unit, vector = self.tensors[index]
        if self.units[unit] == LAYER:
            return "as_blocks"
        return final_norm if self.units[unit] == HEAD and vector else embedding


def choose(scores, sizes, sparsity, first):
    """Positions taken: those of `first` before all others, then by descending score, ties by position, until the
    sum reaches n_s, the crossing one included."""
    order = np.lexsort((np.arange(len(sizes)), -scores, ~first))
    reached = np.cumsum(sizes[order]).astype(np.float64)
    needed = (1.0 - sparsity) * float(sizes.sum())
    count = int(np.argmax(reached >= needed)) + 1 if reached[-1] >= needed else len(sizes)
    return np.sort(order[:count])


def run(case, model, draw_norms, losses):
    """Plays a run. draw_norms(t) gives all true squared norms of step t; losses[t] is (sum, tokens, nonfinite)."""
    rng = np.random.default_rng(case["seed"] + 1000)
    sizes, number = model.sizes(), len(model.tensors)
    kinds = [model.treatment(i, case["embedding"], case["final_norm"]) for i in range(number)]
    candidates = np.array([i for i in range(number) if kinds[i] == "as_blocks"])
    always = [i for i in range(number) if kinds[i] == "always"]
    m, lag, total, paper = case["patience"], case["lag"], case["total_steps"], case["mode"] == "paper"
    norms = np.zeros(number)
    processed = np.full(number, -1.0)
    trained, chosen_times, selections = np.zeros(number), np.zeros(number), 0
    history, plan, phase = [], {}, 0  # plan: step -> (phase, candidates that learn, probe candidates)
    phase_begin = 1  # first step that the newest selection trains
    reports, directives = [], []
    for t in range(total):
        true = draw_norms(t)
        report = {"loss_sum": losses[t][0], "tokens": losses[t][1], "nonfinite": losses[t][2], "norms": []}
        if t == 0:
            for i in candidates:
                norms[i] = true[i]
                report["norms"].append([int(i), 1, true[i], -1.0])
        else:
            now_phase, now, may_probe = plan[t]
            trained[now] += 1
            picked = sorted(rng.permutation(may_probe)[: case["probes"]].tolist()) if len(may_probe) else []
            # Moments shrink the processed gradient of what learns; only runs that score by it measure it, and only
            # a step that updates has it.
            measure = case["measured"] and (paper or case["score"] == "adam") and losses[t][2] == 0
            for i in sorted(set(now.tolist()) | set(always) | set(picked)):
                role = 1 if i in picked else 0
                adam = float(rng.integers(1, 64)) if measure and role == 0 else -1.0
                report["norms"].append([int(i), role, true[i], adam])
                if i in always:
                    continue
                norms[i] = true[i]
                if role == 0 and now_phase == phase and adam >= 0:
                    processed[i] = adam
        reports.append(report)
        last = max(plan) if plan else 0
        if last + 1 >= total:
            continue
        usable = losses[t][1] > 0 and losses[t][2] == 0
        loss = losses[t][0] / losses[t][1] if usable else None
        if paper:
            switch = False
            if usable:
                history.append(loss)
                switch = len(history) >= m and loss >= np.mean(history[-m:])
        else:
            switch = False
            if usable and t >= phase_begin:
                switch = len(history) >= m and loss >= np.mean(history[-m:])
                history = [] if switch else history + [loss]
        if t == 0 or switch:
            size = sizes[candidates].astype(np.float64)
            adam = np.sqrt(np.where(processed[candidates] >= 0, processed[candidates], size))
            raw = {"grad_norm": np.sqrt(norms[candidates]), "grad_rms": np.sqrt(norms[candidates] / size), "adam": adam}
            if paper:
                # f = 0 for what was never selected: the limit f -> 0 puts those first, by norm among themselves.
                f = chosen_times[candidates] / max(selections, 1)
                first = f == 0
                score = adam / np.where(first, 1.0, f)
            else:
                first = np.zeros(len(candidates), dtype=bool)
                score = raw[case["score"]] / ((1.0 + trained[candidates]) / (1.0 + t))
            new = candidates[choose(score, sizes[candidates], case["sparsity"], first)]
            chosen_times[new] += 1
            selections += 1
            if paper or not plan or not np.array_equal(new, plan[last][1]):
                phase += 1
                processed[:] = -1
                phase_begin = t + 1 + (lag if t else 0)
            selected = new
        else:
            selected = plan[last][1]
        learns = sorted(selected.tolist() + always)
        cut = 0 if case["probe_scope"] == "all" else min(model.tensors[i][2] for i in learns)
        probes = [int(i) for i in candidates if i not in selected and model.tensors[i][2] >= cut]
        through = min(t + 1 + lag, total - 1)
        for step in range(last + 1, through + 1):
            plan[step] = (phase, selected, np.array(probes if case["probes"] else [], dtype=np.int64))
        directives.append([last + 1, through, phase, learns, probes if case["probes"] else []])
    return reports, directives


def make(name, model, losses=None, ties=False, **fields):
    case = dict(name=name, seed=0, mode="repaired", score="grad_norm", sparsity=0.5, patience=4, lag=1, total_steps=40,
                probes=1, probe_scope="above_cut", embedding="as_blocks", final_norm="as_blocks", measured=False)
    case.update(fields)
    rng = np.random.default_rng(case["seed"])
    total = case["total_steps"]
    if losses is None:  # a noisy descent: patience runs out now and then
        base = 8.0 * np.exp(-np.arange(total) / total) * 256
        losses = np.maximum(1, np.round(base + rng.normal(0, 150, total))).astype(int) * 8
        losses = [(float(x), TOKENS, 0) for x in losses]
    weight = rng.integers(1, 5, len(model.tensors))

    def draw(_):
        if ties:
            return rng.integers(1, 4, len(model.tensors)).astype(float)
        spread = rng.random(len(model.tensors)) * weight * 2.0 ** rng.integers(-1, 6, len(model.tensors))
        return np.ceil(spread * 32) / 32

    case["reports"], case["directives"] = run(case, model, draw, losses)
    case["model"] = {"tensors": model.tensors, "units": model.units, "tied": model.tied}
    return case


def flat(total, value=4096.0):
    return [(value, TOKENS, 0)] * total


def falling(total):
    return [(float(40960 - 8 * t), TOKENS, 0) for t in range(total)]


def cases():
    small, wide = Model(256, 64, 128, 2), Model(512, 64, 192, 4)
    tied = Model(256, 64, 128, 3, tied=True)
    out = []
    for seed in range(4):
        out.append(make(f"noisy descent {seed}", [small, wide, tied, small][seed], seed=seed, total_steps=60))
    for lag in range(3):
        out.append(make(f"lag {lag}", small, seed=10, lag=lag))
        out.append(make(f"paper, lag {lag}", small, seed=11, lag=lag, mode="paper", patience=3, measured=lag != 1))
    out.append(make("ties by index", small, ties=True, seed=20, probes=3))
    out.append(make("flat loss: equal to the mean switches", small, losses=flat(30), total_steps=30, seed=21, patience=5))
    out.append(make("falling loss: never switches", small, losses=falling(30), total_steps=30, seed=22))
    out.append(make("paper, flat loss: every step", small, losses=flat(24), total_steps=24, seed=23, mode="paper"))
    out.append(make("paper, falling loss", tied, losses=falling(24), total_steps=24, seed=24, mode="paper"))
    out.append(make("patience 1", small, seed=25, patience=1, lag=0))
    out.append(make("paper, patience 1: each step its own mean", small, seed=26, patience=1, mode="paper", total_steps=16))
    out.append(make("sparsity 0: everything", small, seed=27, sparsity=0.0))
    out.append(make("sparsity near 1: one tensor", wide, seed=28, sparsity=0.9999))
    exact = 1.0 - 64 * 64 / float(small.sizes().sum())
    out.append(make("budget of exactly one tensor", small, seed=29, sparsity=exact, ties=True))
    out.append(make("score by root mean square", wide, seed=30, score="grad_rms", sparsity=0.75))
    out.append(make("score by processed gradient", wide, seed=31, score="adam", sparsity=0.75, measured=True))
    out.append(make("score by processed gradient, never measured", wide, seed=31, score="adam", sparsity=0.75))
    out.append(make("frozen embedding and head", small, seed=32, embedding="frozen", final_norm="frozen"))
    out.append(make("embedding always", tied, seed=33, embedding="always", final_norm="always", sparsity=0.8))
    out.append(make("probes everywhere", wide, seed=34, probe_scope="all", probes=4, sparsity=0.9))
    out.append(make("no probes", wide, seed=35, probes=0, sparsity=0.9))
    broken = [(float(3000 + (t * 7) % 5 * 64), 0 if t % 7 == 3 else TOKENS, 2 if t % 5 == 4 else 0) for t in range(40)]
    for mode in ("repaired", "paper"):
        out.append(make(f"steps without a loss, {mode}", small, losses=broken, seed=36, mode=mode, measured=True))
    out.append(make("a run of one step", small, seed=37, total_steps=1))
    out.append(make("a run shorter than the lag", small, seed=38, total_steps=3, lag=5))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed file, write nothing")
    args = parser.parse_args()
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases())
    text = f'{{"cases":[\n{lines}\n]}}\n'
    if not args.check:
        OUT.write_text(text)
    elif OUT.read_text() != text:
        raise SystemExit(f"{OUT.name} differs from what blockllm_oracle.py writes: regenerate it")


if __name__ == "__main__":
    main()
