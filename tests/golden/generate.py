#!/usr/bin/env python3
"""Reference values of tiny Llamas from PyTorch and transformers, as committed fixtures.

    python tests/golden/generate.py            # writes tests/golden/<case>/

Needs torch, transformers and safetensors from PyPI (newest; VERSIONS.txt says which were used). Not run
in CI. Each case is a folder:
    config.json, model.safetensors   the model as save_pretrained writes it
    reference.safetensors            inputs, targets (ten batches, I32), rope.cos and rope.sin of
                                     every position, logits and loss of the first batch,
                                     grad.<tensor> of the mean loss, losses of ten AdamW steps,
                                     final.<tensor> after them
The ten steps: torch.optim.AdamW, lr 1e-3, betas (0.9, 0.95), eps 1e-8, weight decay 0.1 on matrices and 0
on norms, one batch per step. The last target of the first slot is -100 (not counted).
"""
import pathlib

import safetensors.torch
import torch
import transformers

HERE = pathlib.Path(__file__).parent
SLOTS, TOKENS, STEPS = 2, 24, 10

COMMON = dict(vocab_size=80, hidden_size=32, intermediate_size=48, max_position_embeddings=64,
              rms_norm_eps=1e-5, attention_bias=False, mlp_bias=False, hidden_act="silu",
              bos_token_id=1, eos_token_id=2, use_cache=False)
CASES = {
    # Plain multi-head attention, an LM head of its own.
    "untied_mha": dict(num_hidden_layers=2, num_attention_heads=4, tie_word_embeddings=False),
    # Two query heads per key/value head, D not C/H, Llama 3 scaling with all three of its branches.
    "gqa_llama3": dict(
        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        tie_word_embeddings=False,
        rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=64)),
    # One matrix at both ends; linear position interpolation.
    "tied_linear": dict(
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.0)),
}


def build(extra, seed):
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(**COMMON, **extra)
    config._attn_implementation = "eager"
    model = transformers.LlamaForCausalLM(config).float()
    with torch.no_grad():
        for name, p in model.named_parameters():
            # Larger than an ordinary initialisation, so that attention is far from uniform and every
            # gradient is of a size that errors show in; norms away from one.
            if p.dim() == 2:
                p.normal_(0.0, 0.25)
            else:
                p.add_(torch.randn_like(p) * 0.2)
    return model


def mean_loss(model, inputs, targets):
    logits = model(input_ids=inputs.long()).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten().long(),
                                             ignore_index=-100)
    return logits, loss


def generate(name, extra, seed):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    model = build(extra, seed)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)

    tokens = torch.randint(0, COMMON["vocab_size"], (STEPS, SLOTS, TOKENS + 1), dtype=torch.int32)
    inputs, targets = tokens[:, :, :-1].contiguous(), tokens[:, :, 1:].contiguous()
    targets[:, 0, -1] = -100
    out = {"inputs": inputs, "targets": targets}

    positions = torch.arange(COMMON["max_position_embeddings"])[None]
    cos, sin = model.model.rotary_emb(torch.zeros(1), positions)
    half = cos.shape[-1] // 2  # the other half repeats it
    out["rope.cos"], out["rope.sin"] = cos[0, :, :half].clone(), sin[0, :, :half].clone()

    logits, loss = mean_loss(model, inputs[0], targets[0])
    loss.backward()
    out["logits"] = logits.detach().flatten(0, 1)
    out["loss"] = loss.detach().reshape(1)
    for tensor, p in model.named_parameters():
        out["grad." + tensor] = p.grad.clone()

    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1},
                                   {"params": vectors, "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        _, loss = mean_loss(model, inputs[step], targets[step])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    out["losses"] = torch.tensor(losses)
    for tensor, p in model.named_parameters():
        out["final." + tensor] = p.detach().clone()
    safetensors.torch.save_file(out, folder / "reference.safetensors")
    print(name, "loss", losses[0], "->", losses[-1])


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for seed, (name, extra) in enumerate(CASES.items()):
        generate(name, extra, seed + 1)
    (HERE / "VERSIONS.txt").write_text(
        f"torch {torch.__version__}\ntransformers {transformers.__version__}\n")


if __name__ == "__main__":
    main()
