#!/usr/bin/env python3
"""Reads a TensorBoard event file with nothing of ours and nothing of TensorFlow's: frames and CRCs by
the standard library. Prints one line per event: step tag=value ... | session=START.

  read_events.py FILE
"""
import struct
import sys


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def fields(data):
    """(number, value) of a protobuf message; bytes stay bytes."""

    def varint(at):
        value = shift = 0
        while True:
            byte = data[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at

    at = 0
    while at < len(data):
        tag, at = varint(at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(at)
        elif kind == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        elif kind == 2:
            size, at = varint(at)
            value, at = data[at:at + size], at + size
        elif kind == 5:
            value, at = struct.unpack_from("<f", data, at)[0], at + 4
        else:
            sys.exit(f"unknown wire kind {kind}")
        yield tag >> 3, value


def main():
    data = open(sys.argv[1], "rb").read()
    at = 0
    while at < len(data):
        length = data[at:at + 8]
        (size,) = struct.unpack("<Q", length)
        (length_crc,) = struct.unpack_from("<I", data, at + 8)
        event = data[at + 12:at + 12 + size]
        (event_crc,) = struct.unpack_from("<I", data, at + 12 + size)
        if length_crc != masked(length) or event_crc != masked(event):
            sys.exit(f"bad CRC at byte {at}")
        at += 16 + size
        step, words = 0, []
        for number, value in fields(event):
            if number == 2:
                step = value
            elif number == 3:
                words.append("version=" + value.decode())
            elif number == 5:
                for _, one in fields(value):
                    parts = dict(fields(one))
                    words.append(f"{parts[1].decode()}={parts[2]:g}")
            elif number == 7:
                words.append("session=%d" % dict(fields(value))[1])
        print(step, *words)


main()
