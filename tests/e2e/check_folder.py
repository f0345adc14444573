#!/usr/bin/env python3
"""Holds a checkpoint (or an export) against what transformers' LlamaForCausalLM loads from a folder as it
lies, with nothing but Python's standard library. check_transformers.py asks transformers itself.

  check_folder.py FOLDER [--sha256 HEX]     HEX: the weights' hash that `blockstep` printed

Checked: config.json has what LlamaConfig needs, of the right types, and values that fit each other; every
safetensors file is whole (header, offsets without gaps or overlaps, "format": "pt"); the index names each
tensor's file; tensors are those of the model, no more and no fewer, each of its shape and dtype.
"""
import argparse
import glob
import hashlib
import json
import os
import struct
import sys

BYTES = {"F32": 4, "BF16": 2, "F16": 2}
DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
INTEGERS = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
            "num_attention_heads", "num_key_value_heads", "max_position_embeddings")


def config_problems(c):
    """What LlamaConfig and AutoModelForCausalLM ask of config.json."""
    if c.get("architectures") != ["LlamaForCausalLM"] or c.get("model_type") != "llama":
        yield f"architectures {c.get('architectures')}, model_type {c.get('model_type')}"
    for key in INTEGERS:
        if type(c.get(key)) is not int or c[key] <= 0:
            yield f"{key}: expected a positive integer, got {c.get(key)!r}"
    if not isinstance(c.get("rms_norm_eps"), float) or not 0 < c["rms_norm_eps"] < 1:
        yield f"rms_norm_eps: {c.get('rms_norm_eps')!r}"
    if not isinstance(c.get("tie_word_embeddings"), bool):
        yield f"tie_word_embeddings: {c.get('tie_word_embeddings')!r}"
    if c.get("hidden_act") != "silu" or c.get("attention_bias") or c.get("mlp_bias"):
        yield "an activation or biases that the files do not have"
    # transformers 4 has rope_theta and rope_scaling, 5 has rope_parameters and reads both.
    rope = c.get("rope_parameters") or dict(c.get("rope_scaling") or {}, rope_theta=c.get("rope_theta"))
    if not isinstance(rope.get("rope_theta"), (int, float)):
        yield f"no rope_theta: {rope}"
    needs = {"default": (), "linear": ("factor",),
             "llama3": ("factor", "low_freq_factor", "high_freq_factor",
                        "original_max_position_embeddings")}.get(rope.get("rope_type", "default"))
    if needs is None or any(not isinstance(rope.get(key), (int, float)) for key in needs):
        yield f"rope: expected {needs}, got {rope}"
    if c.get("dtype", c.get("torch_dtype")) not in DTYPES:
        yield f"dtype: {c.get('dtype', c.get('torch_dtype'))!r}"
    for key in ("bos_token_id", "eos_token_id"):
        if c.get(key) is not None and type(c[key]) is not int:
            yield f"{key}: {c[key]!r}"


def model_tensors(c):
    """name -> shape, as LlamaForCausalLM makes them."""
    hidden, inner, vocab = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    head = c.get("head_dim") or hidden // c["num_attention_heads"]
    q, kv = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
    layer = {"self_attn.q_proj": [q, hidden], "self_attn.k_proj": [kv, hidden],
             "self_attn.v_proj": [kv, hidden], "self_attn.o_proj": [hidden, q],
             "mlp.gate_proj": [inner, hidden], "mlp.up_proj": [inner, hidden],
             "mlp.down_proj": [hidden, inner], "input_layernorm": [hidden],
             "post_attention_layernorm": [hidden]}
    shapes = {"model.embed_tokens.weight": [vocab, hidden], "model.norm.weight": [hidden]}
    for i in range(c["num_hidden_layers"]):
        shapes.update({f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()})
    if not c["tie_word_embeddings"]:
        shapes["lm_head.weight"] = [vocab, hidden]
    return shapes


def read_file(path):
    """(name -> (dtype, shape, bytes), problems) of one safetensors file."""
    with open(path, "rb") as f:
        data = f.read()
    where = os.path.basename(path)
    size = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    if not 2 <= size <= len(data) - 8 or size % 8 != 0:
        return {}, [f"{where}: {len(data)} bytes with a header of {size}"]
    header = json.loads(data[8:8 + size])
    problems = []
    # from_pretrained refuses a file without it.
    if header.pop("__metadata__", {}).get("format") != "pt":
        problems.append(f'{where}: no "format": "pt"')
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, after = entry["data_offsets"]
        elements = 1
        for n in entry["shape"]:
            elements *= n
        if begin != end or after - begin != elements * BYTES.get(entry["dtype"], 0):
            problems.append(f"{where}: {name}: bytes {begin} to {after} after {end} for {entry}")
        tensors[name] = (entry["dtype"], entry["shape"], data[8 + size + begin:8 + size + after])
        end = after
    if 8 + size + end != len(data):
        problems.append(f"{where}: {len(data)} bytes, tensors end at {8 + size + end}")
    return tensors, problems


def problems(folder):
    """(what is wrong, a line each; the weights)."""
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    found = list(config_problems(config))
    if found:
        return found, {}
    tensors, where = {}, {}
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        more, wrong = read_file(path)
        found += wrong + [f"{name} is in two files" for name in more if name in tensors]
        tensors.update(more)
        where.update({name: os.path.basename(path) for name in more})
    index = os.path.join(folder, "model.safetensors.index.json")
    if os.path.exists(index):
        with open(index) as f:
            index = json.load(f)
        if index["weight_map"] != where:
            found.append("the index names other tensors or files than there are")
        if index["metadata"]["total_size"] != sum(len(data) for _, _, data in tensors.values()):
            found.append(f"the index has total_size {index['metadata']['total_size']}")
    elif set(where.values()) != {"model.safetensors"}:
        found.append(f"no index over {sorted(set(where.values()))}")
    wanted = model_tensors(config)
    dtype = DTYPES[config.get("dtype", config.get("torch_dtype"))]
    for name in sorted(wanted.keys() | tensors.keys()):
        have = list(tensors[name][:2]) if name in tensors else None
        if name not in wanted or have != [dtype, wanted[name]]:
            found.append(f"{name}: expected {[dtype, wanted.get(name)]}, got {have}")
    return found, tensors


def weights_sha256(tensors):
    sha = hashlib.sha256()
    for name in sorted(tensors):
        dtype, shape, data = tensors[name]
        sha.update(f"{name}\0{dtype}\0{','.join(map(str, shape))}\0".encode() + data)
    return sha.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--sha256")
    args = parser.parse_args()
    found, tensors = problems(args.folder)
    if args.sha256 and args.sha256 != weights_sha256(tensors):
        found.append(f"the weights' SHA-256: expected {args.sha256}, got {weights_sha256(tensors)}")
    for problem in found:
        print(problem)
    print(f"{len(tensors)} tensors, " + (f"{len(found)} PROBLEMS" if found else "as transformers loads them"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
