"""CRC-32C against RFC 3720, framing against tensorboardX, messages against protobuf itself."""

import gzip
import struct

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from tensorboardX.crc32c import crc32c as reference_crc32c
from tensorboardX.record_writer import RecordWriter

from recordings.importers.crc32c import crc32c, masked
from recordings.importers.wire import parse_example, read_records

VECTORS = [  # RFC 3720, B.4, and the check value of the CRC catalogue
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (b"123456789", 0xE3069283),
    (b"", 0),
]


@pytest.mark.parametrize(("data", "value"), VECTORS)
def test_crc_of_the_standard(data, value):
    assert crc32c(data) == value


@pytest.mark.parametrize("size", [1, 2047, 2048, 2049, 4099, 30_011])
def test_crc_in_lanes_is_the_plain_one(size):
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == reference_crc32c(data)


def test_masking_by_hand():
    """Rotate 0x00008001 right by 15: 0x00020001; plus 0xA282EAD8."""
    assert masked(0x00008001) == 0xA284EAD9


def messages():
    """tf.train's messages, made by protobuf from TensorFlow's example.proto and feature.proto."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="twin.proto", package="twin", syntax="proto3")

    def add(message, name, number, type_, repeated=False, ref=None, oneof=False):
        label = kind.LABEL_REPEATED if repeated else kind.LABEL_OPTIONAL
        field = message.field.add(name=name, number=number, type=type_, label=label)
        if ref:
            field.type_name = f".twin.{ref}"
        if oneof:
            field.oneof_index = 0

    def add_map(message, name, number, value):
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        add(entry, "key", 1, kind.TYPE_STRING)
        add(entry, "value", 2, kind.TYPE_MESSAGE, ref=value)
        ref = f"{message.name}.{entry.name}"
        add(message, name, number, kind.TYPE_MESSAGE, repeated=True, ref=ref)

    types = (("BytesList", "BYTES"), ("FloatList", "FLOAT"), ("Int64List", "INT64"))
    for name, value in types:
        part = file.message_type.add(name=name)
        add(part, "value", 1, getattr(kind, f"TYPE_{value}"), repeated=True)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, _) in enumerate(types, 1):
        label = name[:-4].lower() + "_list"
        add(feature, label, number, kind.TYPE_MESSAGE, ref=name, oneof=True)
    add_map(file.message_type.add(name="Features"), "feature", 1, "Feature")
    add(file.message_type.add(name="Example"), "features", 1, kind.TYPE_MESSAGE, ref="Features")
    some = file.message_type.add(name="FeatureList")
    add(some, "feature", 1, kind.TYPE_MESSAGE, repeated=True, ref="Feature")
    add_map(file.message_type.add(name="FeatureLists"), "feature_list", 1, "FeatureList")
    sequence = file.message_type.add(name="SequenceExample")
    add(sequence, "context", 1, kind.TYPE_MESSAGE, ref="Features")
    add(sequence, "feature_lists", 2, kind.TYPE_MESSAGE, ref="FeatureLists")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("Example", "SequenceExample", "Feature")
    found = [pool.FindMessageTypeByName(f"twin.{name}") for name in names]
    return [message_factory.GetMessageClass(one) for one in found]


EXAMPLE, SEQUENCE, FEATURE = messages()


def test_example_is_what_protobuf_wrote():
    example = EXAMPLE()
    feature = example.features.feature
    feature["video"].bytes_list.value.extend([b"", b"frame 1", bytes(range(256)) * 9])
    feature["camera"].float_list.value.extend([0.5, -1.25, 3e38])
    feature["steps"].int64_list.value.extend([0, -1, 2**63 - 1, -(2**63), 300])
    feature["nothing"].bytes_list.SetInParent()
    feature["no kind"].SetInParent()
    found = parse_example(example.SerializeToString())
    assert sorted(found) == sorted(feature)
    assert found["video"] == list(feature["video"].bytes_list.value)
    assert found["camera"].dtype == np.float32 and found["steps"].dtype == np.int64
    assert found["camera"].tolist() == list(feature["camera"].float_list.value)
    assert found["steps"].tolist() == list(feature["steps"].int64_list.value)
    assert found["nothing"] == [] and found["no kind"] == []


def test_sequence_example_joins_its_lists_over_time():
    sequence = SEQUENCE()
    sequence.context.feature["id"].int64_list.value.append(7)
    for step in range(3):
        part = sequence.feature_lists.feature_list["frames"].feature.add()
        part.bytes_list.value.append(b"frame %d" % step)
    found = parse_example(sequence.SerializeToString())
    assert found["id"].tolist() == [7]
    assert found["frames"] == [b"frame 0", b"frame 1", b"frame 2"]


def test_unpacked_numbers_are_read_too():
    """proto2 writers give each number its own tag: floats 1.0 and 2.0, integers 5 and 6."""
    floats = b"\x0d" + struct.pack("<f", 1.0) + b"\x0d" + struct.pack("<f", 2.0)
    integers = b"\x08\x05\x08\x06"
    for kind, part, values in ((2, floats, [1.0, 2.0]), (3, integers, [5, 6])):
        feature = bytes([kind << 3 | 2, len(part)]) + part
        entry = b"\x0a\x01x\x12" + bytes([len(feature)]) + feature
        features = b"\x0a" + bytes([len(entry)]) + entry
        data = b"\x0a" + bytes([len(features)]) + features
        assert parse_example(data)["x"].tolist() == values


def refused(parse, data):
    try:
        parse(data)
    except (ValueError, DecodeError):
        return True
    return False


def test_bytes_that_are_no_message_are_refused_and_never_anything_else():
    """Cut anywhere, always; of those with any bit turned, nearly all that protobuf refuses: a field
    numbered 0 is left out."""
    example = EXAMPLE()
    example.features.feature["video"].bytes_list.value.extend([b"abc" * 20, b"def"])
    example.features.feature["n"].int64_list.value.extend(range(100, 200))
    data = example.SerializeToString()
    assert all(refused(parse_example, data[:end]) for end in range(1, len(data)))
    number = int.from_bytes(data)
    turned = [(number ^ 1 << bit).to_bytes(len(data)) for bit in range(8 * len(data))]
    found = [(refused(parse_example, x), refused(EXAMPLE.FromString, x)) for x in turned]
    assert sum(theirs for _, theirs in found) > 150
    assert sum(ours for ours, theirs in found if theirs) > 0.9 * sum(theirs for _, theirs in found)


@pytest.fixture
def records(tmp_path):
    """Three records, written by tensorboardX."""
    path = tmp_path / "x.tfrecord"
    data = [b"first", bytes(5000), b""]
    writer = RecordWriter(str(path))
    for record in data:
        writer.write(record)
    writer.close()
    return path, data


def test_framing_is_tensorboards(records, tmp_path):
    path, data = records
    assert list(read_records(path)) == data
    zipped = tmp_path / "x.tfrecord.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert list(read_records(zipped)) == data


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda x: x[:0] + b"", "an empty file"),
        (lambda x: x[:7], "cut short in the header of record 0"),
        (lambda x: x[:-1], "cut short in record 2"),
        (lambda x: x[:40], "cut short in record 1"),
        (lambda x: x[:3] + b"\x01" + x[4:], "checksum of record 0's length"),
        (lambda x: x[:13] + b"X" + x[14:], "checksum of record 0"),
        (lambda x: x[:2000] + b"\x01" + x[2001:], "checksum of record 1"),
        (lambda x: x[:-2] + b"\x00\x00", "checksum of record 2"),
        (lambda x: b"not a record at all, but some text", "no TFRecord"),
    ],
)
def test_damage_is_found(records, damage, reason):
    path, _ = records
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=reason):
        list(read_records(path))
