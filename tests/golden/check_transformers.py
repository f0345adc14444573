#!/usr/bin/env python3
"""Loads a checkpoint (or an export) in transformers as it lies, and holds it against the files.

  check_transformers.py FOLDER [--sha256 HEX]

Needs torch, transformers and safetensors. Checked: what check_folder.py does; from_pretrained finds every
tensor and no other; each parameter has the file's bits; a forward gives finite logits; the SHA-256 over
(name, dtype, shape, bytes) sorted by name, computed by its definition, is printed and compared with --sha256
(what `blockstep` printed).
"""
import argparse
import os
import sys

import torch
import transformers

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
import check_folder  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--sha256")
    args = parser.parse_args()
    problems, tensors = check_folder.problems(args.folder)
    if problems:
        sys.exit("\n".join(problems))
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        args.folder, dtype="auto", output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[kind]:
            sys.exit(f"{kind}: {sorted(info[kind])}")
    types = {"F32": torch.float32, "BF16": torch.bfloat16}
    parameters = dict(model.named_parameters())
    for name, (dtype, shape, data) in tensors.items():
        wanted = torch.frombuffer(bytearray(data), dtype=types[dtype]).reshape(shape)
        if not torch.equal(parameters[name].detach(), wanted):
            sys.exit(f"{name}: transformers holds other values than the file")
    logits = model(torch.arange(8)[None]).logits
    if not torch.isfinite(logits).all():
        sys.exit("logits are not finite")
    found = check_folder.weights_sha256(tensors)
    print(f"transformers {transformers.__version__}: {len(tensors)} tensors equal, "
          f"{len(parameters)} parameters, weights' SHA-256 {found}")
    if args.sha256 and args.sha256 != found:
        sys.exit(f"--sha256 says {args.sha256}")


main()
