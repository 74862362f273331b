"""Videos read back as what was written, and bad input is refused before anything is touched."""

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from training import video


def moving_square(length: int = 6, height: int = 32, width: int = 48) -> np.ndarray:
    """A red square that moves right by 4 pixels per frame, on a grey ground."""
    frames = np.full((length, height, width, 3), 60, np.uint8)
    for t in range(length):
        frames[t, 8:16, 4 * t : 4 * t + 8] = (250, 20, 20)
    return frames


def test_mp4_reads_back(tmp_path: Path) -> None:
    frames = moving_square()
    path = tmp_path / "deep" / "out.mp4"
    video.write_video(path, frames, fps=12.5)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 12.5
        read = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(stream)])
    assert read.shape == frames.shape
    assert np.abs(read.astype(int) - frames).mean() < 4
    assert [p.name for p in path.parent.iterdir()] == ["out.mp4"]


def test_mp4_of_odd_size_is_padded_to_even(tmp_path: Path) -> None:
    frames = moving_square(3, 17, 23)
    video.write_video(tmp_path / "odd.mp4", frames, fps=5)
    with av.open(str(tmp_path / "odd.mp4")) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert shown.shape == (18, 24, 3)
    assert np.abs(shown[:17, :23].astype(int) - frames[0]).mean() < 12


def test_gif_reads_back_and_loops(tmp_path: Path) -> None:
    frames = moving_square()
    video.write_video(tmp_path / "out.gif", frames, fps=10)
    with Image.open(tmp_path / "out.gif") as image:
        assert image.info["loop"] == 0
        assert image.info["duration"] == 100
        read = np.stack([np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)])
    assert read.shape == frames.shape
    assert np.abs(read.astype(int) - frames).max() <= 2


@pytest.mark.parametrize(("fps", "milliseconds"), [(10, 100), (30, 30), (15, 70), (200, 20)])
def test_gif_time_is_in_ticks_of_10_ms(fps: float, milliseconds: int) -> None:
    with Image.open(io.BytesIO(video.encode_gif(moving_square(2), fps))) as image:
        assert image.info["duration"] == milliseconds


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.gif"
    video.write_video(path, moving_square(2), fps=5)
    before = path.read_bytes()

    def full_disk(*_: object) -> bytes:
        raise OSError("no space left")

    monkeypatch.setattr(video, "encode_gif", full_disk)
    with pytest.raises(OSError, match="no space"):
        video.write_video(path, moving_square(3), fps=5)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.gif or \.mp4.*out\.webm"):
        video.write_video(tmp_path / "out.webm", moving_square(), fps=5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 4, 4, 3), np.float32),
        np.zeros((2, 4, 4, 1), np.uint8),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((0, 4, 4, 3), np.uint8),
    ],
)
def test_other_frames_are_refused(frames: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"uint8 \[T, H, W, 3\]"):
        video.write_video(tmp_path / "x.gif", frames, fps=5)


def test_zero_fps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frames per second above 0"):
        video.write_video(tmp_path / "x.mp4", moving_square(), fps=0)


def test_rows_are_stacked_first_on_top() -> None:
    top, below = np.zeros((2, 3, 5, 3), np.uint8), np.ones((2, 4, 5, 3), np.uint8)
    both = video.stack_rows([top, below])
    assert both.shape == (2, 7, 5, 3)
    assert both[:, :3].max() == 0
    assert both[:, 3:].min() == 1


@pytest.mark.parametrize("shape", [(3, 4, 5, 3), (2, 4, 6, 3), (2, 4, 5, 1), (4, 5, 3)])
def test_rows_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="equal T, W and C"):
        video.stack_rows([np.zeros((2, 3, 5, 3), np.uint8), np.zeros(shape, np.uint8)])


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="equal T, W and C"):
        video.stack_rows([])


def test_upscale_repeats_pixels() -> None:
    frames = np.arange(2 * 2 * 1 * 1, dtype=np.uint8).reshape(2, 2, 1, 1)
    large = video.upscale(frames, 2)
    assert large.shape == (2, 4, 2, 1)
    assert large[0, :, :, 0].tolist() == [[0, 0], [0, 0], [1, 1], [1, 1]]
    with pytest.raises(ValueError, match="factor"):
        video.upscale(frames, 0)


def test_each_frame_stands_below_its_own_lines() -> None:
    frames = moving_square()
    texts = [["step", "x" * bool(t == 2)] for t in range(6)]
    found = video.labelled(video.Film(frames, texts))
    assert found.shape == (6, 32 + 2 * video.LINE, 48, 3)
    assert np.array_equal(found[:, 2 * video.LINE :], frames)
    assert (found[:, : video.LINE].max((1, 2, 3)) > 128).all()
    second = found[:, video.LINE : 2 * video.LINE].max((1, 2, 3))
    assert (second > 128).tolist() == [t == 2 for t in range(6)]
