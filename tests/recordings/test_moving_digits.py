"""Moving digits: flight against a plain loop, ink where the factors say, splits, MNIST's files."""

import gzip
import struct
import zlib

import numpy as np
import pytest

from recordings.generators.bouncing import bounce
from recordings.generators.digits import digit_images, read_idx
from recordings.generators.moving_digits import MovingDigits


def plain_flight(x, v, length, span):
    """One axis, frame by frame: step, and while outside, mirror at the border passed."""
    positions, velocities = [], []
    for _ in range(length):
        positions.append(x)
        x = x + v
        leaving = v
        while x < 0 or x > span:
            x = -x if x < 0 else 2 * span - x
            v = -v
        velocities.append(leaving)
    return np.array(positions), np.array(velocities)


def test_bounce_by_hand() -> None:
    """From 30 at +4 with borders 0 and 36: 30, 34, 38 -> 34, 30; the second axis hits 0 exactly."""
    position, velocity = bounce(np.array([30.0, 6.0]), np.array([4.0, -3.0]), 5, 36.0)
    np.testing.assert_array_equal(position[:, 0], [30, 34, 34, 30, 26])
    np.testing.assert_array_equal(position[:, 1], [6, 3, 0, 3, 6])
    np.testing.assert_array_equal(velocity[:, 0], [4, 4, -4, -4, -4])
    np.testing.assert_array_equal(velocity[:, 1], [-3, -3, 3, 3, 3])


@pytest.mark.parametrize("speed", [0.3, 5.0, 50.0, 200.0])
def test_bounce_is_the_plain_loop(speed: float) -> None:
    rng = np.random.default_rng(0)
    start, velocity = rng.uniform(0, 36, (20, 2)), rng.uniform(-speed, speed, (20, 2))
    position, after = bounce(start, velocity, 60, 36.0)
    for thing in np.ndindex(20, 2):
        x, v = plain_flight(start[thing], velocity[thing], 60, 36.0)
        np.testing.assert_allclose(position[:, *thing], x, atol=1e-8)
        np.testing.assert_allclose(after[:, *thing], v, atol=1e-8)


def test_the_factors_are_those_of_the_flight() -> None:
    for video in MovingDigits(length=60).videos(20, seed=1):
        factors = video.factors
        assert {name: x.shape for name, x in factors.items()} == {
            "identity": (60, 2),
            "position": (60, 2, 2),
            "velocity": (60, 2, 2),
        }
        assert (factors["position"] >= 0).all() and (factors["position"] <= 36).all()
        speed = np.linalg.norm(factors["velocity"], axis=-1)
        assert (speed >= 2 - 1e-4).all() and (speed <= 6 + 1e-4).all()
        np.testing.assert_allclose(speed, np.broadcast_to(speed[0], speed.shape), rtol=1e-5)
        assert (factors["identity"] == factors["identity"][0]).all()


def test_speed_is_a_factor() -> None:
    slow, fast = (MovingDigits(length=3, speed=s).video(4, 7) for s in (1.0, 2.5))
    np.testing.assert_allclose(
        2.5 * np.abs(slow.factors["velocity"]), np.abs(fast.factors["velocity"]), rtol=1e-5
    )


def test_directions_and_speeds_are_uniform() -> None:
    velocity = np.concatenate(
        [v.factors["velocity"][0] for v in MovingDigits(length=1).videos(1000, seed=0)]
    )
    speed, angle = np.linalg.norm(velocity, axis=1), np.arctan2(velocity[:, 0], velocity[:, 1])
    counts = np.histogram(speed, 8, (2, 6))[0], np.histogram(angle, 8, (-np.pi, np.pi))[0]
    assert all((abs(count - 250) < 5 * np.sqrt(250)).all() for count in counts)


def test_the_ink_is_where_the_factors_say() -> None:
    """Each frame is the maximum of one known digit per flight, pasted at the nearest pixel."""
    source = digit_images("train", None)
    for video in MovingDigits(length=25).videos(5, seed=3):
        image, factors = video.obs["image"][..., 0], video.factors
        labels = factors["identity"][0]
        pairs = [np.flatnonzero(source.labels == label) for label in labels]
        cells = np.floor(factors["position"] + 0.5).astype(int)
        chosen = [only_fit(source.images, pairs[d], image, cells[:, d]) for d in range(2)]
        for frame, places in zip(image, cells, strict=True):
            expected = np.zeros((64, 64), np.uint8)
            for (row, column), digit in zip(places, chosen, strict=True):
                for i, j in np.ndindex(28, 28):
                    ink = max(expected[row + i, column + j], source.images[digit, i, j])
                    expected[row + i, column + j] = ink
            np.testing.assert_array_equal(frame, expected)


def only_fit(images, candidates, frames, cells):
    """The one candidate whose ink is nowhere brighter than the frames at these cells."""
    crops = np.stack([f[r : r + 28, c : c + 28] for f, (r, c) in zip(frames, cells, strict=True)])
    fits = [k for k in candidates if (images[k] <= crops.min(0)).all()]
    assert len(fits) >= 1
    return max(fits, key=lambda k: int(images[k].sum()))


def test_a_video_depends_on_options_seed_and_number_alone() -> None:
    source = MovingDigits(length=8)
    every = list(source.videos(4, seed=5))
    assert [video.name for video in every] == [f"moving_digits-{i:06d}" for i in range(4)]
    resumed = list(MovingDigits(length=8).videos(2, seed=5, first=2))
    for a, b in zip(every[2:], resumed, strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(a.obs["image"], b.obs["image"])
    others = (source.video(3, 6), source.video(2, 5))
    assert all((every[3].obs["image"] != other.obs["image"]).any() for other in others)


def test_train_and_test_share_no_digit() -> None:
    train, test = (digit_images(split, None) for split in ("train", "test"))
    assert len(train.labels) + len(test.labels) == 1797 and len(test.labels) > 300
    inks = [{image.tobytes() for image in split.images} for split in (train, test)]
    assert not inks[0] & inks[1]
    assert set(test.labels) == set(range(10))
    assert train.images.shape[1:] == (28, 28) and train.images.max() == 255


@pytest.mark.parametrize(
    "options",
    [{"length": 0}, {"digits": 0}, {"speed": 0.0}, {"speed": float("nan")}],
)
def test_options_out_of_range_are_refused(options) -> None:
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"{name}: expected"):
        MovingDigits(**options)


def test_numbers_below_zero_are_refused() -> None:
    for index, seed in ((-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="0 or more"):
            MovingDigits().video(index, seed)
    with pytest.raises(ValueError, match="count"):
        list(MovingDigits().videos(-1, 0))


def idx(array: np.ndarray) -> bytes:
    """The idx file of a uint8 array, as MNIST's are written."""
    axes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes((0, 0, 8, array.ndim)) + axes + array.tobytes()


@pytest.fixture
def mnist(tmp_path):
    """A folder in MNIST's format: 30 training digits, 12 test digits; the images gzipped."""
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 30), ("t10k", 12)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{prefix}-labels.idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_reads_mnist(mnist) -> None:
    for split, count in (("train", 30), ("test", 12)):
        digits = digit_images(split, str(mnist))
        assert digits.images.shape == (count, 28, 28)
        np.testing.assert_array_equal(digits.labels, np.arange(count) % 10)
    video = MovingDigits(length=2, digits=1, mnist=str(mnist)).video(0, 0)
    row, column = np.floor(video.factors["position"][0, 0] + 0.5).astype(int)
    crop = video.obs["image"][0, row : row + 28, column : column + 28, 0]
    images = digit_images("train", str(mnist)).images
    match = [k for k in range(30) if (images[k] == crop).all()]
    assert [k % 10 for k in match] == video.factors["identity"][0].tolist()


def test_idx_by_hand(tmp_path) -> None:
    path = tmp_path / "two-idx"
    path.write_bytes(bytes.fromhex("000008020000000200000003010203040506"))
    np.testing.assert_array_equal(read_idx(path), [[1, 2, 3], [4, 5, 6]])


GOOD = idx(np.zeros((2, 28, 28), np.uint8))
ZIPPED = gzip.compress(GOOD, mtime=0)


# Named: bytes in a test's name, a time among them, would keep two workers from agreeing on it.
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("a", b"", "begins with nothing", id="empty"),
        pytest.param("a", b"\x00\x00\x0d\x03" + GOOD[4:], "unsigned bytes", id="floats"),
        pytest.param("a", GOOD[:10], "unsigned bytes", id="half-a-header"),
        pytest.param("a", GOOD[:-1], "expected 1568 bytes.*received 1567", id="a-byte-less"),
        pytest.param("a", GOOD + b"x", "received 1569", id="a-byte-more"),
        pytest.param("a", b"\x00\x00\x08\x03" + b"\xff" * 12, "received 0", id="endless"),
        pytest.param("a.gz", GOOD, "not a gzipped file|Not a gzipped file", id="not-gzip"),
        pytest.param("a.gz", ZIPPED[:-12], "readable file", id="gzip-cut"),
        pytest.param("a.gz", ZIPPED[:12] + b"\xff" * 40, "readable file", id="gzip-damaged"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, name, content, message) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_idx(path)


def test_missing_and_ill_matched_mnist_files_are_refused(mnist) -> None:
    (mnist / "t10k-labels.idx1-ubyte").write_bytes(idx(np.zeros(11, np.uint8)))
    with pytest.raises(ValueError, match=r"images \[N, 28, 28\] and labels \[N\]"):
        digit_images("test", str(mnist))
    (mnist / "t10k-labels.idx1-ubyte").write_bytes(idx(np.full(12, 77, np.uint8)))
    with pytest.raises(ValueError, match="labels 0 to 9"):
        digit_images("test", str(mnist))
    (mnist / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(ValueError, match="train-images-idx3-ubyte"):
        digit_images("train", str(mnist))


def test_the_split_of_a_digit_is_stable() -> None:
    """The checksum that decides is CRC-32, the same on every machine and Python."""
    assert zlib.crc32(b"123456789") == 0xCBF43926
    assert len(digit_images("test", None).labels) == 358
