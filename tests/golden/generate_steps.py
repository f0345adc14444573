#!/usr/bin/env python3
"""Ten steps of a whole training step, by PyTorch: what the step engine does around the kernels.

    python tests/golden/generate_steps.py      # writes steps.json and steps.safetensors of each case

Needs what generate.py needs, and its fixtures: the model and the ten batches of each case are those of
generate.py. Not run in CI. Per step: forward and backward of the mean loss; clip_grad_norm_ over what
learns; torch.optim.AdamW, betas (0.9, 0.95), eps 1e-3, weight decay 0.1 on matrices and 0 on norms, with
the learning rate of SequentialLR(LinearLR, CosineAnnealingLR) times the entry's lr_scale.

With a small eps the first step of AdamW is the sign of the gradient, and rounding decides where a weight of
next to no gradient goes; with this one clipping shows in every weight, too.

An entry is a range of rows of a tensor. Two phases: everything learns, the first matrix in two ranges
with scales of their own; then the last layer, a norm and a range of the head's rows, from fresh optimizer
state while the schedule goes on.
    steps.json         phases and their entries, schedule, clip norm; of each step the loss, the norm of the
                       gradient before clipping and the learning rate
    steps.safetensors  every tensor after the ten steps
"""
import json
import pathlib

import safetensors.torch
import torch
import transformers

import generate

HERE = pathlib.Path(__file__).parent
PEAK, WARMUP, FLOOR, CLIP, EPS = 1e-2, 3, 0.1, 1.0, 1e-3
SCALES = (1.0, 0.5, 2.0, 0.25, 1.5)
SPLIT = 64  # rows; ranges of an active set begin on multiples of it


def learning_rates():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / WARMUP, total_iters=WARMUP - 1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=generate.STEPS - WARMUP,
                                                        eta_min=FLOOR * PEAK)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], milestones=[WARMUP])
    rates = []
    for _ in range(generate.STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def phases(parameters, layers):
    def entry(name, begin, end, scale):
        return {"tensor": name, "rows": [begin, end], "lr_scale": scale}

    everything, later = [], []
    for i, (name, p) in enumerate(parameters.items()):
        rows, scale = p.shape[0], SCALES[i % len(SCALES)]
        if name == "model.embed_tokens.weight":
            everything += [entry(name, 0, SPLIT, scale), entry(name, SPLIT, rows, 0.75)]
        else:
            everything.append(entry(name, 0, rows, scale))
        if name.startswith(f"model.layers.{layers - 1}.") or name == "model.norm.weight":
            later.append(entry(name, 0, rows, SCALES[(i + 2) % len(SCALES)]))
        elif name == "lm_head.weight":
            later.append(entry(name, SPLIT, rows, 0.5))
    return [{"steps": 6, "entries": everything}, {"steps": 4, "entries": later}]


def optimizer_of(entries, parameters):
    """AdamW over copies of the rows that learn, one group per entry."""
    groups = []
    for e in entries:
        p = parameters[e["tensor"]]
        rows = torch.nn.Parameter(p.detach()[slice(*e["rows"])].clone())
        groups.append({"params": [rows], "weight_decay": 0.1 if p.dim() == 2 else 0.0})
    return torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.95), eps=EPS, foreach=False)


def train(model, batches, script, rates):
    parameters = dict(model.named_parameters())
    losses, norms, step = [], [], 0
    for phase in script:
        optimizer = optimizer_of(phase["entries"], parameters)
        learning = [g["params"][0] for g in optimizer.param_groups]
        for _ in range(phase["steps"]):
            model.zero_grad()
            _, loss = generate.mean_loss(model, *(b[step] for b in batches))
            loss.backward()
            for e, rows in zip(phase["entries"], learning):
                rows.grad = parameters[e["tensor"]].grad[slice(*e["rows"])].clone()
            norms.append(torch.nn.utils.clip_grad_norm_(learning, CLIP).item())
            for e, group in zip(phase["entries"], optimizer.param_groups):
                group["lr"] = rates[step] * e["lr_scale"]
            optimizer.step()
            with torch.no_grad():
                for e, rows in zip(phase["entries"], learning):
                    parameters[e["tensor"]][slice(*e["rows"])] = rows
            losses.append(loss.item())
            step += 1
    return losses, norms


def generate_case(name):
    folder = HERE / name
    model = transformers.LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager").float()
    reference = safetensors.torch.load_file(folder / "reference.safetensors")
    parameters = dict(model.named_parameters())
    script = phases(parameters, model.config.num_hidden_layers)
    rates = learning_rates()
    losses, norms = train(model, (reference["inputs"], reference["targets"]), script, rates)
    text = {"versions": f"torch {torch.__version__}, transformers {transformers.__version__}",
            "schedule": {"peak": PEAK, "warmup_steps": WARMUP, "floor": FLOOR}, "clip_norm": CLIP, "eps": EPS,
            "phases": script, "losses": losses, "grad_norms": norms, "learning_rates": rates}
    lines = json.dumps(text).replace('{"tensor"', '\n  {"tensor"').replace(', "', ',\n "').replace(',\n "rows', ', "rows')
    (folder / "steps.json").write_text(lines.replace(',\n "lr_scale', ', "lr_scale') + "\n")
    safetensors.torch.save_file({n: p.detach().clone() for n, p in parameters.items()},
                                folder / "steps.safetensors")
    (folder / "steps.safetensors").chmod(0o644)
    print(name, "loss", losses[0], "->", losses[-1], "norms", [round(n, 2) for n in norms])


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in generate.CASES:
        generate_case(name)


if __name__ == "__main__":
    main()
