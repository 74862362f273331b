"""A few bytes that claim, or inflate to, any amount: named and skipped, and the import goes on.

All of them are imported by one child process that may have a GiB more than when it starts.
"""

import gzip
import json
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
from processes import PATIENCE, ROOT

from recordings.importers import bounds
from recordings.importers.crc32c import crc32c, masked

ROOM = 2**30  # bytes

CHILD = """
import json, resource, sys
from pathlib import Path
from recordings.importers.formats import FORMATS
from recordings.run import ImportConfig, run_import

folder = Path(sys.argv[1])
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[2]),) * 2)
found = {}
for name in sorted(path.name for path in folder.iterdir()):
    report = run_import(name, FORMATS[name](folder / name), folder.parent / f"store-{name}",
                        ImportConfig(0.0))
    found[name] = [report.episodes, dict(report.skipped)]
print(json.dumps(found))
"""


def record(data: bytes) -> bytes:
    """A TFRecord's framing."""
    head = struct.pack("<Q", len(data))
    checks = [struct.pack("<I", masked(crc32c(part))) for part in (head, data)]
    return head + checks[0] + data + checks[1]


def field(number: int, data: bytes) -> bytes:
    size, length = len(data), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def example(name: bytes, feature: bytes) -> bytes:
    return field(1, field(1, field(1, name) + field(2, feature)))


def png(width: int, height: int) -> bytes:
    """A PNG of one grey byte that claims to be larger."""

    def part(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = part(b"IHDR", header) + part(b"IDAT", zlib.compress(b"\0\0")) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def npy(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    """The header of an array."""
    text = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def tfrecords(folder, files):
    """Pictures, lists and records that claim too much."""
    good = files.frames(1, 3).tobytes()
    (folder / "good.tfrecord").write_bytes(record(example(b"video", field(1, field(1, good)))))
    for name, size in (
        ("vast", (100_000, 100_000)),
        ("large", (9_000, 9_000)),
        ("long", (2**20, 1)),
    ):
        picture = example(b"image", field(1, field(1, png(*size))))
        (folder / f"{name}.tfrecord").write_bytes(record(picture))
    dots = example(b"video", field(1, field(1, bytes(200_000))))
    sides = [
        field(1, field(1, x) + field(2, field(3, field(1, b"\x01"))))
        for x in (b"height", b"width", b"depth")
    ]
    dots = field(1, dots[4:] + b"".join(sides))  # 200 000 frames of 1x1x1, each to become 64x64
    (folder / "dots.tfrecord").write_bytes(record(dots))
    values = example(b"video", field(3, field(1, b"\x01" * (bounds.COUNT + 1))))
    (folder / "values.tfrecord").write_bytes(record(values))
    (folder / "fields.tfrecord").write_bytes(record(b"\x0a\x00" * (bounds.COUNT + 1)))
    head = struct.pack("<Q", 2**31 - 2**20)
    claim = head + struct.pack("<I", masked(crc32c(head)))
    with gzip.open(folder / "zeros.tfrecord.gz", "wb") as file:
        file.write(claim + bytes(2**24))


def npzs(folder, files):
    """Zips that inflate, or claim to."""
    good = {"image": files.frames(1, 4), "is_first": np.arange(4) == 0}
    np.savez_compressed(folder / "good.npz", **good)
    zeros = bytes(2**20)

    def bomb(name, method, header, amount):
        path = folder / f"{name}.npz"
        with (
            zipfile.ZipFile(path, "w", method, compresslevel=1) as file,
            file.open("image.npy", "w", force_zip64=True) as out,
        ):
            out.write(header)
            for _ in range(amount):
                out.write(zeros)
        return path

    bomb("deflated", zipfile.ZIP_DEFLATED, npy((600, 2**20)), 600)
    lies = bomb("lies", zipfile.ZIP_BZIP2, npy((4, 64, 64, 3)), 64)
    data = bytearray(lies.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, 50_000)  # of what it inflates to
    lies.write_bytes(data)
    bomb("claims", zipfile.ZIP_DEFLATED, npy((2**40, 64, 64, 3)), 1)
    np.savez_compressed(folder / "steps.npz", image=np.zeros((bounds.COUNT + 1, 1), np.uint8))
    np.savez_compressed(folder / "empty.npz", pose=np.zeros((9, 0), np.float32))


def arrays(folder, files):
    """Files with holes, which take no room on the disk."""
    np.save(folder / "good.npy", np.zeros((3, 2, 64, 64), np.uint8))
    for name, shape in (("sequences", (1, 2**21, 1, 1)), ("frames", (2**16, 1, 64, 64))):
        header = npy(shape)
        with (folder / f"{name}.npy").open("wb") as file:
            file.write(header)
            file.truncate(len(header) + int(np.prod(shape)))


def videos(folder, files):
    """A canvas of 65 535 x 65 535."""
    files.video(folder / "good.mp4", files.frames(1, 4))
    data = bytearray(b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;")
    data[6:10] = b"\xff\xff\xff\xff"
    data[24:28] = b"\xff\xff\xff\xff"
    (folder / "vast.gif").write_bytes(data)


def minerl(folder, files):
    """A description 100 000 brackets deep."""
    (folder / "stream").mkdir()
    (folder / "stream" / "metadata.json").write_text("[" * 100_000)
    for name in ("recording.mp4", "rendered.npz"):
        (folder / "stream" / name).write_bytes(b"")


KINDS = {"tfrecord": tfrecords, "npz": npzs, "moving_mnist": arrays, "videos": videos}
KINDS |= {"minerl": minerl}


@pytest.fixture(scope="module")
def found(tmp_path_factory, files):
    """By format: episodes, and what was skipped, why."""
    place = tmp_path_factory.mktemp("bombs")
    for name, make in KINDS.items():
        (place / "data" / name).mkdir(parents=True)
        make(place / "data" / name, files)
    command = [sys.executable, "-c", CHILD, str(place / "data"), str(ROOM)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


SAID = {
    "tfrecord": {
        "vast.tfrecord": "too large",
        "large.tfrecord": "9000x9000",
        "long.tfrecord": "1048576x1",
        "dots.tfrecord": "200,000 pictures made to fit of 819,200,000 bytes",
        "values.tfrecord": "values of a list",
        "fields.tfrecord": "fields of a message",
        "zeros.tfrecord.gz": "record 0 of 2,146,435,072 bytes",
    },
    "npz": {
        "deflated.npz": "1 arrays of 629,",
        "lies.npz": "compressed in a way",
        "claims.npz": "",
        "steps.npz": "1,048,577 steps of image",
        "empty.npz": "axes >= 1",
    },
    "moving_mnist": {"sequences.npy": "2,097,152 sequences", "frames.npy": "a sequence of"},
    "videos": {"vast.gif": ""},
    "minerl": {"stream": ""},
}
GOOD = {"tfrecord": 1, "npz": 1, "moving_mnist": 2, "videos": 1, "minerl": 0}


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_bomb_is_named_and_the_import_goes_on(found, kind):
    episodes, skipped = found[kind]
    assert sum(episodes.values()) == GOOD[kind]
    assert skipped.keys() == SAID[kind].keys()
    for name, words in SAID[kind].items():
        assert words in skipped[name], (name, skipped[name])
