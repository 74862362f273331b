"""TFRecord folders: encoded and raw frames, one feature or one per frame, and what is damaged."""

import io
import json
import struct

import numpy as np
import pytest
from PIL import Image
from tensorboardX.record_writer import RecordWriter

from recordings.__main__ import main
from recordings.importers.images import Look
from recordings.importers.sequences import Mazes
from recordings.importers.tfrecord import Sequences, TfRecords


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def example(**features):
    """A tf.train.Example: lists of bytes, integers, floats. Checked against protobuf elsewhere."""
    entries = b""
    for name, values in features.items():
        if values and isinstance(values[0], int):
            feature = field(3, field(1, b"".join(varint(value) for value in values)))
        elif values and isinstance(values[0], float):
            feature = field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
        else:
            feature = field(1, b"".join(field(1, value) for value in values))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def write(path, *examples):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = RecordWriter(str(path))
    for data in examples:
        writer.write(data)
    writer.close()
    return path


def encoded(images, kind="PNG"):
    parts = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image.squeeze()).save(
            buffer, kind, **{"quality": 95} if kind == "JPEG" else {}
        )
        parts.append(buffer.getvalue())
    return parts


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), np.uint8)


def only(source):
    [name] = source.names()
    return list(source.read(name))


def test_frames_as_png_are_exact(tmp_path, images):
    """As TFDS stores `Video`: one PNG per frame in the feature `video`."""
    second = example(video=encoded(images[:3]), label=[3])
    write(tmp_path / "a.tfrecord-00000-of-00001", example(video=encoded(images)), second)
    first, other = only(TfRecords(tmp_path))
    assert first.name == "a.tfrecord-00000-of-00001:00000"
    np.testing.assert_array_equal(first.obs["image"], images)
    np.testing.assert_array_equal(other.obs["image"], images[:3])


def test_frames_as_jpeg(tmp_path, files):
    """As GQN's: JPEGs in `frames`, beside floats that are no frames."""
    images = files.frames(1, 5)
    write(tmp_path / "a.tfrecord", example(cameras=[1, 2], frames=encoded(images, "JPEG")))
    [video] = only(Mazes(tmp_path))
    assert np.abs(video.obs["image"].astype(int) - images).max() <= 2


def test_grey_frames(tmp_path, images):
    write(tmp_path / "a.tfrecord", example(video=encoded(images[..., :1])))
    [grey] = only(TfRecords(tmp_path, sequences=Sequences(channels=1)))
    np.testing.assert_array_equal(grey.obs["image"], images[..., :1])
    [colour] = only(TfRecords(tmp_path))
    np.testing.assert_array_equal(colour.obs["image"], images[..., [0, 0, 0]])


def test_raw_video_in_one_string(tmp_path, images):
    write(tmp_path / "a.tfrecord", example(video=[images.tobytes()]))
    np.testing.assert_array_equal(only(TfRecords(tmp_path))[0].obs["image"], images)


def test_raw_frames_one_key_each_in_the_order_of_numbers(tmp_path, images):
    """As robot pushing data are: `10/main/encoded` comes after `9/...`, not after `1/...`."""
    many = np.concatenate([images, images[::-1]])
    keys = {f"{t}/main/encoded": [image.tobytes()] for t, image in enumerate(many)}
    write(tmp_path / "a.tfrecord", example(**keys, **{"0/action": [1]}))
    np.testing.assert_array_equal(only(TfRecords(tmp_path))[0].obs["image"], many)
    chosen = TfRecords(tmp_path, sequences=Sequences(feature="main/encoded"))
    np.testing.assert_array_equal(only(chosen)[0].obs["image"], many)


def pushing(images, **changes):
    """As BAIR's robot pushing data: two cameras, actions and where the gripper is, step by step."""
    entries = {}
    for t, image in enumerate(images):
        entries[f"{t}/image_aux1/encoded"] = [(255 - image).tobytes()]
        entries[f"{t}/image_main/encoded"] = [image.tobytes()]
        entries[f"{t}/action"] = [t + 0.5, -1.0]
        entries[f"{t}/endeffector_pos"] = [0.0, 0.0, 0.0]
    entries |= changes
    return example(**{key: value for key, value in entries.items() if value is not None})


def test_one_of_two_cameras_is_chosen_and_said_and_actions_are_kept(tmp_path, images):
    write(tmp_path / "a.tfrecord", pushing(images))
    [video] = only(TfRecords(tmp_path))
    np.testing.assert_array_equal(video.obs["image"], images)
    assert video.action.tolist() == [[0, 0], *[[t + 0.5, -1] for t in range(6)]]
    assert video.notes == (
        "image_main/encoded stored, image_aux1/encoded left out: see --feature",
        "endeffector_pos left out: numbers at each step",
    )
    other = TfRecords(tmp_path, sequences=Sequences(feature="image_aux1/encoded"))
    np.testing.assert_array_equal(only(other)[0].obs["image"], 255 - images)


@pytest.mark.parametrize("change", [{"3/action": None}, {"3/action": [1]}, {"3/action": [1.0]}])
def test_actions_that_are_not_whole_are_left_out_and_said(tmp_path, images, change):
    write(tmp_path / "a.tfrecord", pushing(images[:5], **change))
    [video] = only(TfRecords(tmp_path))
    assert video.action is None and "action, endeffector_pos left out" in video.notes[1]


def test_a_frame_that_is_missing_is_named(tmp_path, images):
    write(tmp_path / "a.tfrecord", pushing(images, **{"3/image_main/encoded": None}))
    with pytest.raises(ValueError, match="frames of image_main/encoded: no number 3"):
        only(TfRecords(tmp_path))


def test_raw_shapes_are_told_or_given(tmp_path, images):
    small = images[:, :32, :48]
    told = {"height": [32], "width": [48], "depth": [3]}
    write(tmp_path / "a.tfrecord", example(video=[x.tobytes() for x in small], **told))
    [video] = only(TfRecords(tmp_path, Look(size=32, fit="crop")))
    np.testing.assert_array_equal(video.obs["image"], small[:, :, 8:40])  # the middle square
    write(tmp_path / "a.tfrecord", example(pixels=[x.tobytes() for x in small]))
    given = Sequences(feature="pixels", raw_shape=(32, 48, 3))
    [video] = only(TfRecords(tmp_path, Look(size=32, fit="crop"), given))
    np.testing.assert_array_equal(video.obs["image"], small[:, :, 8:40])


def test_luma_by_hand(tmp_path):
    """0.299 · 200 + 0.587 · 100 + 0.114 · 50 = 124.2."""
    pixel = np.full((1, 64, 64, 3), (200, 100, 50), np.uint8)
    write(tmp_path / "a.tfrecord", example(video=[pixel.tobytes()]))
    [video] = only(TfRecords(tmp_path, sequences=Sequences(channels=1)))
    assert (video.obs["image"] == 124).all() and video.obs["image"].shape == (1, 64, 64, 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (example(label=[3]), "record 1: no frames: looked for video"),
        (example(video=[b"\x89PNG not really"]), "record 1: a picture that is not a readable PNG"),
        (example(video=[b"x" * 100]), "record 1: raw frames of 100 bytes, expected a multiple of"),
        (b"\xff\xff", "record 1: a message that ends"),
    ],
)
def test_a_file_with_a_bad_record_is_left_out_whole(tmp_path, images, data, reason):
    good = example(video=encoded(images))
    write(tmp_path / "d" / "a.tfrecord", good, data, good)
    write(tmp_path / "d" / "b.tfrecord", good)
    write(tmp_path / "d" / "c.tfrecord", good).write_bytes(b"")
    path = write(tmp_path / "d" / "d.tfrecord", good, good)
    whole = bytearray(path.read_bytes())
    whole[-40] ^= 4
    path.write_bytes(whole)
    run = ["tfrecord", str(tmp_path / "d"), str(tmp_path / "s"), "--test-fraction", "0"]
    assert main(run) == 0
    summary = json.loads((tmp_path / "s" / "import.json").read_text())
    assert summary["episodes"] == {"train": 1} and summary["frames"] == 7
    reasons = dict(summary["skipped"])
    assert set(reasons) == {"a.tfrecord", "c.tfrecord", "d.tfrecord"}
    assert reason in reasons["a.tfrecord"] and reasons["c.tfrecord"] == "an empty file"
    assert reasons["d.tfrecord"] == "damaged: checksum of record 1"


def test_splits_are_read_from_folders_and_names(tmp_path, images):
    one = example(video=encoded(images[:2]))
    for place in ("train/a.tfrecord", "test/a.tfrecord", "mazes-test.tfrecord-00000-of-00002"):
        write(tmp_path / "d" / place, one)
    write(tmp_path / "d" / "valid" / "a.tfrecord", one)
    assert main(["mazes", str(tmp_path / "d"), str(tmp_path / "s")]) == 0
    summary = json.loads((tmp_path / "s" / "import.json").read_text())
    assert summary["episodes"] == {"train": 1, "test": 2, "validation": 1}


def test_a_picture_of_absurd_size_is_refused(tmp_path):
    """A PNG header that promises 10^10 pixels."""
    import zlib

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    png += struct.pack(">I", zlib.crc32(chunk))
    write(tmp_path / "a.tfrecord", example(video=[png]))
    with pytest.raises(ValueError, match="record 0: a picture"):
        only(TfRecords(tmp_path))
