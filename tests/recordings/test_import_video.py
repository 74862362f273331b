"""Videos as others make them: KTH's AVIs, odd sizes, turned, grey, at other rates."""

import json

import av
import numpy as np
import pytest
from PIL import Image

from recordings.__main__ import main
from recordings.importers.images import Look
from recordings.importers.video_folder import VideoFolder


def only(source):
    [name] = source.names()
    [video] = source.read(name)
    return video


def halves(steps, width, height):
    """Left half dark, right half bright; the outer eighths at both sides are mid grey."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, width // 2 :] = 210
    image[:, : width // 8] = image[:, -(width // 8) :] = 120
    return np.repeat(image[None], steps, axis=0)


def test_kth_as_published(tmp_path, files):
    """DivX (MPEG-4) in AVI, 160x120 at 25 fps, persons 1-20 and 21-25; grey 64x64x1."""
    root = tmp_path / "kth"
    for person in (1, 20, 21, 25):
        action = ("boxing", "walking")[person % 2]
        path = root / action / f"person{person:02d}_{action}_d{1 + person % 4}_uncomp.avi"
        files.video(path, files.frames(person % 5, 30, (160, 120)), "mpeg4")
    files.video(root / "boxing/person26_boxing_d1_uncomp.avi", files.frames(0, 5), "mpeg4")
    files.video(root / "holiday.avi", files.frames(0, 5), "mpeg4")
    assert main(["kth", str(root), str(tmp_path / "s")]) == 0
    summary = json.loads((tmp_path / "s" / "import.json").read_text())
    assert summary["episodes"] == {"train": 2, "test": 2} and summary["frames"] == 120
    assert {name for name, _ in summary["skipped"]} == {
        *("boxing/person26_boxing_d1_uncomp.avi", "holiday.avi")
    }
    episodes = files.episodes(tmp_path / "s" / "test")
    for tag, episode in zip((1, 0), episodes, strict=True):  # persons 21 and 25
        assert episode.dtype["obs/image"].shape == (64, 64, 1) and len(episode) == 30
        grey = files.frames(tag, 30)[..., :1]
        assert np.abs(episode["obs/image"].astype(int) - grey).max() <= 6


def test_crop_takes_the_middle_and_stretch_the_whole(tmp_path, files):
    files.video(tmp_path / "v.mp4", halves(3, 256, 128))
    crop = only(VideoFolder(tmp_path)).obs["image"][0, 32, :, 0]
    stretch = only(VideoFolder(tmp_path, Look(fit="stretch"))).obs["image"][0, 32, :, 0]
    assert (abs(crop[2:30].astype(int) - 40) < 8).all() and (crop[34:62] > 200).all()
    assert (abs(stretch[:7].astype(int) - 120) < 8).all()
    assert (abs(stretch[10:30].astype(int) - 40) < 8).all() and (stretch[34:54] > 200).all()


@pytest.mark.parametrize("size", [(98, 66), (30, 20), (64, 64), (350, 62), (64, 2)])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_odd_sizes_all_become_one(tmp_path, files, size, fit):
    files.video(tmp_path / "v.avi", files.frames(2, 4, size), "mpeg4")
    image = only(VideoFolder(tmp_path, Look(size=48, fit=fit))).obs["image"]
    assert image.shape == (4, 48, 48, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - files.frames(2, 4, (48, 48))).max() <= 6


def test_odd_numbers_of_pixels(tmp_path, files):
    """FFmpeg's codecs in yuv420p need even ones; a GIF does not."""
    path = tmp_path / "v.gif"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 51, 33, "rgb8"
        for image in files.frames(1, 5, (51, 33)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="rgb8")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert only(VideoFolder(tmp_path)).obs["image"].shape == (5, 64, 64, 3)


def test_the_last_frame_may_be_held(tmp_path, files):
    """A GIF of pictures that stand for 0.1 s, and the last for 20 s: it is not cut short."""
    pictures = [Image.fromarray(image) for image in files.frames(1, 6)]
    durations = [100] * 5 + [20_000]
    pictures[0].save(
        tmp_path / "v.gif", save_all=True, append_images=pictures[1:], duration=durations
    )
    assert only(VideoFolder(tmp_path)).steps == 6


CONTAINERS = [("mp4", "h264"), ("mov", "mpeg4"), ("avi", "mpeg4"), ("mkv", "h264"), ("ts", "h264")]
CONTAINERS += [("mpg", "mpeg2video"), ("flv", "flv1"), ("wmv", "wmv2"), ("webm", "libvpx")]


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_all_frames_of_every_container(tmp_path, files, suffix, codec):
    files.video(tmp_path / f"v.{suffix}", files.frames(1, 33), codec)
    image = only(VideoFolder(tmp_path)).obs["image"]
    assert len(image) == 33
    assert np.abs(image.astype(int) - files.frames(1, 33)).max() <= 8


def test_rates(tmp_path, files):
    """Of 30 frames at 25 fps (1.2 s): at 10 fps the first of every 0.1 s, 12 in all."""
    images = files.frames(0, 30)
    files.video(tmp_path / "v.mp4", images)
    few = only(VideoFolder(tmp_path, fps=10)).obs["image"]
    kept = [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28]  # smallest n with n / 25 >= k / 10
    assert np.abs(few.astype(int) - images[kept]).max() <= 6 and len(few) == 12
    assert only(VideoFolder(tmp_path, fps=100)).steps == 30  # no frame twice
    with pytest.raises(ValueError, match="fps: expected above 0, received 0; raise --fps"):
        VideoFolder(tmp_path, fps=0)


def test_a_turned_video_is_upright(tmp_path):
    """A phone stores the sensor's picture and by how much it was turned."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32, :32] = 220  # upper left
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("h264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.set_display_rotation(90)  # counter-clockwise: upper left becomes lower left
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    shown = only(VideoFolder(tmp_path)).obs["image"][0, ..., 0]
    assert shown[40:60, 4:28].min() > 180 and shown[4:28].max() < 40


def test_grey_and_colour(tmp_path):
    image = np.zeros((2, 64, 64, 3), np.uint8)
    image[..., 0] = 200
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "bgr0"
        for frame in image:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    np.testing.assert_array_equal(only(VideoFolder(tmp_path)).obs["image"], image)
    grey = only(VideoFolder(tmp_path, channels=1)).obs["image"]
    assert grey.shape == (2, 64, 64, 1) and abs(int(grey[0, 0, 0, 0]) - 60) <= 2  # 0.299 · 200


def test_sound_beside_the_picture_does_not_matter(tmp_path, files):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("h264", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        sound = container.add_stream("aac", rate=44100)
        for image in files.frames(0, 10):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(picture.encode())
        for number in range(80):  # longer than the picture
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 44100, 1024 * number
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    assert only(VideoFolder(tmp_path)).steps == 10
    only_sound = tmp_path / "w.mp4"
    with av.open(str(only_sound), "w") as container:
        sound = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    with pytest.raises(ValueError, match="no video in it"):
        list(VideoFolder(tmp_path).read("w.mp4"))


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv"])
def test_damage_anywhere_is_named_or_harmless(tmp_path, files, suffix):
    """Bytes overwritten at many places: frames come out whole in number, or ValueError."""
    codec = "mpeg4" if suffix == "avi" else "h264"
    path = files.video(tmp_path / f"v.{suffix}", files.frames(0, 40), codec)
    whole = path.read_bytes()
    for start in range(0, len(whole), max(1, len(whole) // 25)):
        broken = bytearray(whole)
        broken[start : start + 40] = bytes(b ^ 0x5A for b in whole[start : start + 40])
        path.write_bytes(broken)
        try:
            [video] = VideoFolder(tmp_path).read(path.name)
        except (ValueError, OSError):
            continue
        assert 36 <= video.steps <= 40


def test_folders_name_the_split_and_links_are_followed_once(tmp_path, files):
    root = tmp_path / "v"
    for place in ("train-seq100/a.mp4", "test-seq1000/a.mp4", "trainspotting/b.mp4"):
        files.video(root / place, files.frames(0, 3))
    (root / ".hidden").mkdir()
    files.video(root / ".hidden" / "c.mp4", files.frames(0, 3))
    (root / "test-seq1000" / "loop").symlink_to(root)
    files.video(tmp_path / "elsewhere" / "d.mp4", files.frames(0, 3))
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    source = VideoFolder(root)
    splits = {name: source.split(name) for name in source.names()}
    assert splits == {
        "linked/d.mp4": None,
        "test-seq1000/a.mp4": "test",
        "train-seq100/a.mp4": "train",
        "trainspotting/b.mp4": None,
    }
