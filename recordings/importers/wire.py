"""TFRecord files and the tf.train.Example in them, read without TensorFlow.

A record:  length u64 | masked CRC-32C of the length u32 | data | masked CRC-32C of the data u32
Example:   message { Features features = 1 }             Features: map<string, Feature> feature = 1
Feature:   bytes_list = 1 | float_list = 2 | int64_list = 3, each with its repeated value = 1
SequenceExample: context = 1 (Features), feature_lists = 2: map<string, repeated Feature>

Source: tensorflow/core/example/{example,feature}.proto and the protocol buffers' wire format.
"""

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common import UserError
from recordings.importers.bounds import check_bytes, check_count
from recordings.importers.crc32c import crc32c, masked

Feature = list[bytes] | np.ndarray  # of bytes, or float32 [n], or int64 [n]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_records(path: Path) -> Iterator[bytes]:
    """Read the records of a TFRecord file (also a gzipped one), checking each.

    Raises:
      UserError: if the file is empty, cut short, or a checksum differs.
    """
    with open(path, "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    number = 0
    with gzip.open(path) if zipped else open(path, "rb") as file:
        while header := file.read(12):
            if len(header) < 12:
                raise UserError(f"cut short in the header of record {number}")
            length, check = struct.unpack("<QI", header)
            if masked(crc32c(header[:8])) != check:
                raise UserError(f"no TFRecord, or damaged: checksum of record {number}'s length")
            check_bytes(length, f"record {number}")
            data, footer = file.read(length), file.read(4)
            if len(data) < length or len(footer) < 4:
                raise UserError(f"cut short in record {number}")
            if struct.pack("<I", masked(crc32c(data))) != footer:
                raise UserError(f"damaged: checksum of record {number}")
            yield data
            number += 1
    if number == 0:
        raise UserError("an empty file")


def parse_example(data: bytes) -> dict[str, Feature]:
    """Features of a tf.train.Example; for a SequenceExample, also its lists, joined over time.

    Raises:
      UserError: if the bytes are not such a message.
    """
    features: dict[str, Feature] = {}
    for field, part in _fields(memoryview(data)):
        if field == 1:
            features |= {name: _feature([value]) for name, value in _map(_bytes(part))}
        elif field == 2:
            for name, value in _map(_bytes(part)):
                features[name] = _feature([_bytes(x) for f, x in _fields(value) if f == 1])
    return features


def _map(data: memoryview) -> Iterator[tuple[str, memoryview]]:
    """Entries of a map<string, message>: field 1 of `data`, each with key = 1 and value = 2."""
    for field, entry in _fields(data):
        if field == 1:
            pair = dict(_fields(_bytes(entry)))
            empty = memoryview(b"")
            yield bytes(_bytes(pair.get(1, empty))).decode("utf-8"), _bytes(pair.get(2, empty))


def _feature(messages: list[memoryview]) -> Feature:
    """The values of one or more Features of one kind, in order."""
    kinds: set[int] = set()
    values: list[bytes] = []
    numbers: list[np.ndarray] = []
    for message in messages:
        for kind, part in _fields(message):
            kinds.add(kind)
            if kind == 1:
                values += [bytes(_bytes(x)) for field, x in _fields(_bytes(part)) if field == 1]
            elif kind in (2, 3):
                numbers += [_numbers(x, kind) for f, x in _fields(_bytes(part)) if f == 1]
    if len(kinds) > 1 or kinds - {1, 2, 3}:
        raise UserError(f"a feature of kinds {sorted(kinds)}")
    if kinds & {2, 3}:
        return np.concatenate([np.zeros(0, np.float32 if kinds == {2} else np.int64), *numbers])
    return values


def _numbers(part: memoryview | int, kind: int) -> np.ndarray:
    """A value of a float list (2) or an int64 list (3), packed or single."""
    if isinstance(part, int):
        return np.array([part], np.uint64).view(np.int64)
    if kind == 2:
        if len(part) % 4:
            raise UserError(f"{len(part)} bytes of floats")
        return np.frombuffer(part, "<f4").astype(np.float32)
    check_count(int((np.frombuffer(part, np.uint8) < 0x80).sum()), "values of a list")
    at, found = 0, []
    while at < len(part):
        value, at = _varint(part, at)
        found.append(value)
    return np.array(found, np.uint64).view(np.int64)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(number, value) of a message's fields: an int for a varint, otherwise a view of the bytes,
    without a copy."""
    at = count = 0
    while at < len(data):
        count += 1
        check_count(count, "fields of a message")
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            number, at = _varint(data, at)
            yield tag >> 3, number
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise UserError(f"a message with wire type {kind}")
        value = data[at : at + size]
        if len(value) < size:
            raise UserError("a message that ends in the middle of a field")
        at += size
        yield tag >> 3, value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """(value, position after it) of a base-128 varint of at most 64 bits."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise UserError("a message that ends in the middle of a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise UserError("a number longer than 64 bits")


def _bytes(part: memoryview | int) -> memoryview:
    if isinstance(part, int):
        raise UserError("a number where a message should be")
    return part
