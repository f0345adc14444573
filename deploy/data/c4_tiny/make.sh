#!/usr/bin/env bash
# Makes this folder's tokenizer.model, train.bin and val.bin from JSON lines of C4 (ATTRIBUTION.md says
# which, with their SHA-256). The same input gives the same bytes.
#
# make.sh OUT_DIR VAL.jsonl TRAIN.jsonl...      BLOCKSTEP=path/to/blockstep  (default: the release build)
set -euo pipefail

if [[ $# -lt 3 || "$1" == --help ]]; then
  sed -n '2,5s/^# \{0,1\}//p' "$0"
  [[ "${1:-}" == --help ]] && exit 0 || exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
blockstep=$(realpath "${BLOCKSTEP:-$here/../../../build/cpu-release/bin/blockstep}")
out=$(realpath -m "$1")
shift
inputs=()
for path in "$@"; do inputs+=("$(realpath "$path")"); done
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The model file records the flags, so they name files relative to the work folder.
cd "$work"
/usr/bin/python3 "$here/select_documents.py" 2950000 230000 "${inputs[@]}"
# Text survives encoding and decoding: no normalisation, spaces kept, bytes for what has no piece.
spm_train --input=train.txt --model_prefix=tokenizer --model_type=bpe --vocab_size=2048 \
  --unk_id=0 --bos_id=1 --eos_id=2 --pad_id=-1 --byte_fallback=true --split_digits=true \
  --normalization_rule_name=identity --remove_extra_whitespaces=false \
  --allow_whitespace_only_pieces=true --character_coverage=0.9995 --max_sentence_length=1000000 \
  --num_threads=2 --minloglevel=1
"$blockstep" tokenize --model tokenizer.model --out train.bin train.jsonl
"$blockstep" tokenize --model tokenizer.model --out val.bin val.jsonl
mv tokenizer.model train.bin val.bin "$out"
cd "$out"
sha256sum tokenizer.model train.bin val.bin
