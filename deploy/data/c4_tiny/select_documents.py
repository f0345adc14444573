#!/usr/bin/python3
"""Picks the documents of the bundle from JSON-lines files of C4: no document twice, and none in the
training text that shares 13 words in a row with the validation text.

select_documents.py TRAIN_BYTES VAL_BYTES VAL.jsonl TRAIN.jsonl... writes ./train.jsonl, ./val.jsonl and
./train.txt, the training text for SentencePiece."""

import json
import sys

WINDOW = 13  # words; the usual length for telling copies from turns of phrase


def texts(path):
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.strip():
                yield json.loads(line)["text"]


def windows(text):
    words = text.lower().split()
    return {" ".join(words[i:i + WINDOW]) for i in range(len(words) - WINDOW + 1)}


def main():
    train_bytes, val_bytes = int(sys.argv[1]), int(sys.argv[2])
    val, held_out, seen = [], set(), set()
    size = 0
    for text in texts(sys.argv[3]):
        if size >= val_bytes:
            break
        if not text or windows(text) & held_out:
            continue
        val.append(text)
        held_out |= windows(text)
        size += len(text.encode())

    train, overlapping, repeated, size = [], 0, 0, 0
    for path in sys.argv[4:]:
        for text in texts(path):
            if size >= train_bytes:
                break
            own = windows(text)
            if own & held_out:
                overlapping += 1
            elif not text or text in seen or own & seen:
                repeated += 1
            else:
                train.append(text)
                seen.add(text)
                seen |= own
                size += len(text.encode())

    for name, documents in (("train", train), ("val", val)):
        with open(name + ".jsonl", "w", encoding="utf-8") as f:
            for text in documents:
                f.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    with open("train.txt", "w", encoding="utf-8") as f:
        for text in train:
            f.write(text + "\n")
    print(f"{len(train)} training and {len(val)} validation documents; left out {overlapping} that overlap "
          f"with validation, {repeated} that repeat training text")


if __name__ == "__main__":
    main()
