#!/usr/bin/python3
"""Holds the direction of includes (docs/architecture.md), the length of files, and that folders say what they hold.

check_includes.py [--root DIR]     report every include that goes up or sideways, files over 400 lines, and folders
                                   without three lines on what lives there and what may not
check_includes.py --self-test      report planted mistakes in a temporary tree; fails if one goes unseen
"""

import argparse
import os
import re
import sys
import tempfile

# Folder -> the folders it may include besides itself. Every folder with sources stands here by itself: one
# that does not is an error, so that new code is put on a floor on purpose. No circles (checked).
BASE = {"core/base"}
TENSOR = BASE | {"core/device", "core/tensor"}
DATA = {"core/base", "core/tensor"}
MODEL_FLOOR = TENSOR | {"core/ops", "core/step"}  # what model, optim and dist stand on
CONFIG = TENSOR | {"core/data", "core/io", "core/step", "dist", "model", "optim/policy",
                   "optim/rules", "proto"}
CHECKPOINT = CONFIG | {"launcher/config"}
ENGINE = MODEL_FLOOR | {"model", "optim", "dist"}
TRAIN = ENGINE | CHECKPOINT | {"optim/rules", "launcher/checkpoint", "launcher/train/engine",
                               "launcher/train/watchdog"}
COORDINATOR = CONFIG | {"launcher/config"}
PLAN = TRAIN | {"core/backends", "dist/null", "launcher/machine", "launcher/train"}
RUN = PLAN | COORDINATOR | {"dist/local", "dist/mpi", "launcher/cli", "launcher/coordinator",
                            "launcher/train/metrics", "launcher/train/plan"}
COMMAND = RUN | {"launcher/run", "launcher/commands"}

ALLOWED = {
    "core/base": set(),
    "core/io": BASE,
    "core/device": BASE,
    "core/tensor": BASE | {"core/device"},
    "core/ops": TENSOR,
    "core/ops/cpu": TENSOR | {"core/ops", "core/ops/cpu/loops"},
    "core/ops/cpu/loops": set(),  # compiled once per instruction set; shares no inline function
    "core/backends": TENSOR | {"core/ops", "core/ops/cpu", "core/ops/cpu/loops"},
    "core/data": DATA | {"core/io"},
    "core/step": TENSOR | {"core/ops"},
    "model": MODEL_FLOOR | {"core/io"},
    "optim": BASE,
    "optim/policy": TENSOR | {"core/step"},
    "optim/rules": MODEL_FLOOR,
    "dist": MODEL_FLOOR,
    "dist/local": BASE | {"core/device", "dist"},
    "dist/mpi": BASE | {"core/device", "dist"},
    "dist/null": BASE | {"core/device", "dist"},
    "proto": set(),
    "launcher/config": CONFIG,
    "launcher/machine": BASE,
    "launcher/checkpoint": CHECKPOINT,
    "launcher/train/engine": ENGINE,
    "launcher/train/metrics": BASE | {"core/data", "core/io"},
    "launcher/train/watchdog": BASE | {"core/step", "dist"},
    "launcher/train": TRAIN,
    "launcher/train/plan": PLAN,
    "launcher/coordinator": COORDINATOR,
    "launcher/cli": BASE,
    "launcher/run": RUN,
    "launcher/tokenizer": set(),
    "launcher/commands": {"core/base", "launcher/cli", "launcher/coordinator", "launcher/machine"},
    "launcher/commands/certs": COMMAND,
    "launcher/commands/coordinator": COMMAND,
    "launcher/commands/estimate": COMMAND,
    "launcher/commands/eval": COMMAND,
    "launcher/commands/export": COMMAND,
    "launcher/commands/operate": COMMAND,
    "launcher/commands/tokenize": BASE | {"core/data", "launcher/cli", "launcher/commands",
                                          "launcher/tokenizer"},  # the latter: its protocol
    "launcher/commands/train": COMMAND,
    "launcher/commands/verify": COMMAND,
}
ANYTHING = ("tests",)

# What may be included from outside, where: (pattern of the include, test of the including path, where).
def under(*folders):
    return lambda path: any(path.startswith(f + "/") for f in folders)


def in_cuda_folder(path):
    return any(part in ("cuda", "nccl") for part in path.split("/")[:-1])


EXTERNAL = [
    (r"(ompi/)?mpi(-ext)?\.h$", under("dist/mpi"), "dist/mpi"),
    (r"(grpc|grpcpp|google/protobuf)/|.*\.pb\.h$", under("launcher", "proto"), "launcher and proto"),
    (r"(cuda|cublas|cudnn|cusolver|curand|nccl|nvrtc|nvtx3)[^/]*(\.h|\.hpp|\.cuh)?$|(cub|thrust|cuda|nvtx3)/",
     in_cuda_folder, "folders named cuda or nccl"),
    (r"sentencepiece", under("launcher/tokenizer"), "launcher/tokenizer"),
    (r"(oneapi/)?dnnl", under("core/ops"), "core/ops"),
    (r"CLI/", under("launcher"), "launcher"),
]
# libsentencepiece brings a protobuf and an absl of its own: its process holds nothing of ours.
TOKENIZER_REFUSES = re.compile(r"(absl|grpc|grpcpp|google/protobuf)/|.*\.pb\.h$")

SOURCES = (".h", ".cc", ".cu", ".cuh", ".inc")
MEASURED = SOURCES + (".py", ".sh", ".proto")
TOP = ("core", "model", "optim", "dist", "proto", "launcher", "tests", "deploy", "docs")
MAX_LINES = 400
HEADER_LINES = 3
# Tables and fixtures are data, whatever their extension.
EXEMPT = re.compile(r"(^|/)(fixtures|generated|testdata)/|\.pb\.|_table\.inc$")
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def module_of(path):
    """The folder of a file if it is on a floor, the top folder under tests, else None."""
    top, folder = path.split("/")[0], "/".join(path.split("/")[:-1])
    return top if top in ANYTHING else folder if folder in ALLOWED else None


def circle(allowed):
    """A folder that may include itself by way of others, or None."""
    for start in allowed:
        seen, todo = set(), list(allowed[start])
        while todo:
            folder = todo.pop()
            if folder == start:
                return start
            if folder not in seen:
                seen.add(folder)
                todo += allowed[folder]
    return None


def header_lines(root, folder):
    """How many lines a folder has on what lives in it: its README.md, or the comment that begins its CMakeLists.txt."""
    most = 0
    for name, is_text in (("README.md", lambda line: bool(line.strip())),
                          ("CMakeLists.txt", lambda line: bool(line.lstrip("# ").strip()) and line[0] == "#")):
        path = os.path.join(root, folder, name)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                lines = f.read().splitlines()
            text = [is_text(line) for line in lines] + [False]
            most = max(most, text.index(False) if name == "CMakeLists.txt" else sum(text))
    return most


def check_include(root, path, module, quote, target):
    """The mistake in one include, or None."""
    if quote == '"' and "/" not in target and os.path.exists(
            os.path.join(root, os.path.dirname(path), target)):
        return "expected the path from the root"
    for pattern, allowed_in, where in EXTERNAL:
        if re.match(pattern, target) and not os.path.exists(os.path.join(root, target)):
            if module not in ANYTHING and not allowed_in(path):
                return "allowed only in " + where
    if module == "launcher/tokenizer" and TOKENIZER_REFUSES.match(target):
        return "launcher/tokenizer shares its process with libsentencepiece's own protobuf and absl"
    if target.split("/")[0] not in TOP:
        return None  # a library's header
    to = module_of(target)
    if to is None:
        return "a folder that is on no floor"
    if module in ANYTHING or to == module or to in ALLOWED[module]:
        return None
    return module + " may include " + (", ".join(sorted(ALLOWED[module])) or "nothing but itself")


def walk(root):
    for top in TOP:
        for folder, folders, files in os.walk(os.path.join(root, top)):
            folders.sort()
            for name in sorted(files):
                if name.endswith(MEASURED):
                    yield os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")


def check(root):
    """(mistakes, files, lines of each file)."""
    mistakes, lengths, folders = [], [], set()
    if circle(ALLOWED):
        mistakes.append(f"deploy/check_includes.py: {circle(ALLOWED)} may include itself by way of others")
    for path in walk(root):
        folders.add(os.path.dirname(path))
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
        if not EXEMPT.search(path):
            lengths.append((len(lines), path))
            if len(lines) > MAX_LINES:
                mistakes.append(f"{path}: expected at most {MAX_LINES} lines, got {len(lines)}")
        if not path.endswith(SOURCES):
            continue
        module = module_of(path)
        if module is None:
            mistakes.append(f"{path}: a folder that is on no floor (deploy/check_includes.py lists them)")
            continue
        for number, line in enumerate(lines, 1):
            found = INCLUDE.match(line)
            if found:
                why = check_include(root, path, module, found.group(1), found.group(2))
                if why:
                    mistakes.append(f"{path}:{number}: includes {found.group(2)}: {why}")
    for folder in sorted(folders & set(ALLOWED)):
        got = header_lines(root, folder)
        if got < HEADER_LINES:
            mistakes.append(f"{folder}: expected {HEADER_LINES} lines on what lives there and what may not, in README.md "
                            f"or at the top of CMakeLists.txt, got {got}")
    return mistakes, lengths


def self_test():
    """Plants one mistake a file among good files; every one must be named, and nothing else."""
    good = {
        "core/step/a.h": '#include "core/ops/matmul.h"\n#include <vector>\n#include "absl/status/status.h"\n',
        "core/ops/cpu/gemm.cc": '#include <dnnl.hpp>\n#include "core/ops/matmul.h"\n',
        "dist/mpi/comm.cc": '#include <mpi.h>\n#include "dist/communicator.h"\n',
        "launcher/run/rank.cc": '#include "launcher/train/trainer.h"\n#include "proto/config.pb.h"\n',
        "launcher/commands/train/c.cc": '#include "launcher/commands/command.h"\n#include "launcher/run/r.h"\n',
        "launcher/tokenizer/main.cc": "#include <sentencepiece_processor.h>\n",
        "tests/model/t.cc": '#include "launcher/run/x.h"\n#include <mpi.h>\n',
        "tests/fixtures/big.h": "int x;\n" * 500,
    }
    bad = {
        "core/base/up.h": '#include "core/device/backend.h"\n',
        "core/data/sideways.h": '#include "core/ops/matmul.h"\n',
        "core/ops/down.cc": '#include "core/ops/cpu/kernels.h"\n',
        "core/ops/cpu/loops/up.cc": '#include "core/base/check.h"\n',
        "model/sibling.h": '#include "dist/communicator.h"\n',
        "optim/sibling.cc": '#include "model/llama.h"\n',
        "optim/policy/rule.cc": '#include "optim/rules/rules.h"\n',
        "dist/up.cc": '#include "launcher/config/c.h"\n',
        "dist/circle.cc": '#include "dist/local/local_communicator.h"\n',
        "dist/local/mpi.cc": "#include <mpi.h>\n",
        "core/step/pb.cc": '#include "proto/config.pb.h"\n',
        "core/ops/cpu/cuda.cc": "#include <cuda_runtime.h>\n",
        "model/grpc.cc": "  #  include <grpcpp/grpcpp.h>\n",
        "dist/nccl.cc": "#include <nccl.h>\n",
        "launcher/train/sibling.cc": '#include "launcher/coordinator/c.h"\n',
        "launcher/train/engine/up.cc": '#include "launcher/train/session.h"\n',
        "launcher/train/metrics/sibling.cc": '#include "launcher/train/engine/step_engine.h"\n',
        "launcher/checkpoint/up.cc": '#include "launcher/train/session.h"\n',
        "launcher/run/up.cc": '#include "launcher/commands/command.h"\n',
        "launcher/commands/eval/sibling.cc": '#include "launcher/commands/verify/cases.h"\n',
        "launcher/tokenizer/absl.cc": '#include "absl/status/status.h"\n',
        "launcher/tokenizer/core.cc": '#include "core/base/check.h"\n',
        "launcher/config/up.cc": '#include "launcher/train/session.h"\n',
        "launcher/elsewhere/lost.cc": "int x;\n",
        "launcher/train/elsewhere/lost.cc": "int x;\n",
        "optim/spm.cc": "#include <sentencepiece_processor.h>\n",
        "optim/long.cc": "int x;\n" * 401,
        "model/relative.cc": '#include "sibling.h"\n',
    }
    silent = {  # folders that do not say enough about themselves
        "dist/null": {"dist/null/README.md": "One line.\n\n\n"},
        "launcher/machine": {"launcher/machine/CMakeLists.txt": "# One.\n# Two.\nblockstep_library(machine)\n# Late.\n"},
        "launcher/cli": {},
    }
    circles = [{**ALLOWED, "core/base": {"launcher/run"}}, {"a": {"b"}, "b": {"c"}, "c": {"b"}}, {"a": {"a"}}]
    with tempfile.TemporaryDirectory() as root:
        tree = {**good, **bad}
        for folder, files in silent.items():
            tree.update({folder + "/a.h": "int x;\n", **files})
        for path in list(tree):
            folder = os.path.dirname(path)
            if folder in ALLOWED and folder not in silent:
                tree[folder + "/README.md"] = "What lives here.\nWhat else.\nWhat may not.\n"
        by_comment = os.path.dirname(next(iter(good)))
        tree[by_comment + "/CMakeLists.txt"] = "# One.\n# Two.\n# Three.\n\n" + "add_library(x)\n"
        del tree[by_comment + "/README.md"]
        for path, text in tree.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                f.write(text)
        found = {m.split(":")[0] for m in check(root)[0]}
    planted = set(bad) | set(silent)
    unseen, invented = sorted(planted - found), sorted(found - planted)
    for number, allowed in enumerate(circles):
        planted.add(f"circle {number}")
        if not circle(allowed):
            unseen.append(f"circle {number}")
    if circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}):
        invented.append("a circle where two ways meet")
    for path in unseen:
        print(f"self-test: not reported: {path}")
    for path in invented:
        print(f"self-test: reported without reason: {path}")
    print(f"self-test: {len(planted) - len(unseen)} of {len(planted)} planted mistakes found")
    return not unseen and not invented


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if options.self_test:
        sys.exit(0 if self_test() else 1)
    mistakes, lengths = check(options.root)
    for mistake in mistakes:
        print(mistake)
    lengths.sort()
    if not lengths:
        sys.exit(f"{options.root}: no source file")
    longest = ", ".join(f"{path} {n}" for n, path in reversed(lengths[-3:]))
    print(f"{len(lengths)} files, median {lengths[len(lengths) // 2][0]} lines, longest: {longest}; "
          f"{len(mistakes)} mistakes")
    sys.exit(1 if mistakes else 0)


if __name__ == "__main__":
    main()
