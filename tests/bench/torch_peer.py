#!/usr/bin/env python3
"""The same steps as step_bench in PyTorch: Llama in plain modules, SDPA, fused AdamW, fp32.

Prints one JSON line with the fields of `step_bench --json`. As installed: eager; --compile: torch.compile.
An allocator that keeps pages (LD_PRELOAD of tcmalloc) is the caller's choice; the line says which.
"""
import argparse
import json
import os
import resource
import time

import torch
import torch.nn.functional as F
from torch import nn

# GaLore's presets: hidden, intermediate, layers, heads, vocabulary (model/llama_presets.cc).
PRESETS = {
    "9m": (128, 352, 4, 4, 32000),
    "20m": (256, 688, 4, 4, 32000),
    "60m": (512, 1376, 8, 8, 32000),
    "130m": (768, 2048, 12, 12, 32000),
    "350m": (1024, 2736, 24, 16, 32000),
}


class RmsNorm(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight, 1e-6)


def rotate_half(x):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((-b, a), dim=-1)


class Layer(nn.Module):
    def __init__(self, hidden, inner, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = RmsNorm(hidden), RmsNorm(hidden)
        self.q, self.k, self.v, self.o = (nn.Linear(hidden, hidden, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(hidden, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, hidden, bias=False)

    def forward(self, x, cos, sin):
        b, t, c = x.shape
        y = self.norm1(x)
        q, k, v = (
            w(y).view(b, t, self.heads, c // self.heads).transpose(1, 2)
            for w in (self.q, self.k, self.v)
        )
        q = q * cos + rotate_half(q) * sin
        k = k * cos + rotate_half(k) * sin
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, t, c))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self, preset, tokens):
        super().__init__()
        hidden, inner, layers, heads, vocab = PRESETS[preset]
        self.embedding = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList(Layer(hidden, inner, heads) for _ in range(layers))
        self.norm = RmsNorm(hidden)
        self.head = nn.Linear(hidden, vocab, bias=False)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, 0, 0.02)
        d = hidden // heads
        angles = torch.outer(torch.arange(tokens).float(), 10000.0 ** (-torch.arange(0, d, 2) / d))
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, ids, targets):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def blocks_of(model, policy):
    """Step t trains blocks[t % len(blocks)]; step_bench's --policy says which: full, badam (each layer,
    the embedding, the head with the last norm), block=LAYER or block=mid."""
    if policy == "full":
        return [list(model.parameters())]
    if policy == "badam":
        ends = [[model.embedding.weight], [model.norm.weight, model.head.weight]]
        return [list(layer.parameters()) for layer in model.layers] + ends
    layer = policy.removeprefix("block=")
    return [list(model.layers[len(model.layers) // 2 if layer == "mid" else int(layer)].parameters())]


def open_block(model, block):
    """Only this block has gradients; its state is new, as BAdam's at each switch."""
    model.requires_grad_(False)
    for p in block:
        p.requires_grad_(True)
    return torch.optim.AdamW(block, lr=1e-3, weight_decay=0.0, fused=True)


def by_cycle(seconds, cycle):
    """Mean of each cycle's steps, fastest cycle first: blocks differ in what a step costs."""
    return sorted(sum(seconds[i : i + cycle]) / cycle for i in range(0, len(seconds), cycle))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="60m", choices=PRESETS)
    parser.add_argument("--policy", default="full", help="full | badam | block=LAYER | block=mid")
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = Llama(args.preset, args.tokens)
    blocks = blocks_of(model, args.policy)
    torch._dynamo.config.recompile_limit = 4 * len(blocks)  # a graph for each block
    optimizer = open_block(model, blocks[0])
    forward = torch.compile(model) if args.compile else model
    vocab = PRESETS[args.preset][4]

    wall, cpu, loss = [], [], None
    warm_up = max(2, len(blocks))
    steps = -(-args.steps // len(blocks)) * len(blocks)  # whole cycles
    for step in range(warm_up + steps):
        ids = torch.randint(0, vocab, (args.slots, args.tokens + 1))
        begin, begin_cpu = time.perf_counter(), time.process_time()
        if len(blocks) > 1:
            optimizer = open_block(model, blocks[step % len(blocks)])
        loss = forward(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step >= warm_up:
            wall.append(time.perf_counter() - begin)
            cpu.append(time.process_time() - begin_cpu)
    wall, cpu = by_cycle(wall, len(blocks)), by_cycle(cpu, len(blocks))
    batch = args.slots * args.tokens
    print(
        json.dumps(
            {
                "program": "torch " + ("compiled" if args.compile else "eager"),
                "version": torch.__version__,
                "preload": os.environ.get("LD_PRELOAD", ""),
                "preset": args.preset,
                "policy": args.policy,
                "best_tok_s": round(batch / wall[0], 1),
                "median_tok_s": round(batch / wall[len(wall) // 2], 1),
                "cpu_tok_s": round(batch * args.threads / min(cpu), 1),
                "rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "loss": round(loss.item(), 4),
            }
        )
    )


if __name__ == "__main__":
    main()
