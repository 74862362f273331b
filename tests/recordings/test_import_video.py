"""Videos as others make them: KTH's AVIs, odd sizes, turned, grey, at other rates."""

import json
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from recordings.__main__ import main
from recordings.importers.images import Look
from recordings.importers.kth import Kth
from recordings.importers.picture_folder import series
from recordings.importers.video_folder import VideoFolder
from recordings.run import ImportConfig, run_import


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


def test_kth_as_published(tmp_path, files, capsys):
    """DivX (MPEG-4) in AVI, 160x120 at 25 fps, persons 1-20 and 21-25; grey 64x64x1."""
    root = tmp_path / "kth"
    for person in (1, 20, 21, 25):
        action = ("boxing", "walking")[person % 2]
        path = root / action / f"person{person:02d}_{action}_d{1 + person % 4}_uncomp.avi"
        files.video(path, files.frames(person % 5, 30, (160, 120)), "mpeg4")
    files.video(root / "boxing/person26_boxing_d1_uncomp.avi", files.frames(0, 5), "mpeg4")
    files.video(root / "holiday.avi", files.frames(0, 5), "mpeg4")
    assert main(["kth", str(root), str(tmp_path / "s")]) == 0
    said = "images: 64 x 64 pixels, non-square ones squeezed to a square (--size, --fit)"
    assert said in capsys.readouterr().out
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


def test_of_kths_persons_for_training_alone_none_is_held_out(tmp_path, files):
    for person in (1, 2, 3):
        path = tmp_path / "kth" / f"person{person:02d}_boxing_d1_uncomp.avi"
        files.video(path, files.frames(person, 5, (160, 120)), "mpeg4")
    assert run_import("kth", Kth(tmp_path / "kth"), tmp_path / "s", ImportConfig()).episodes == {
        "train": 3
    }


SEQUENCES = """The sequences of frames:

person01_boxing_d1\t\tframes\t1-8, 11-14, 25-40
person21_Walking_d4\tframes\t3-30

person22_walking_d1\tframes\t*missing*
"""


def test_kth_by_its_list_of_sequences(tmp_path, files):
    """Frames are counted from 1, both ends included; those in no sequence are left out and said."""
    root = tmp_path / "kth"
    names = ("01_boxing_d1", "21_walking_d4", "22_walking_d1", "23_walking_d1")
    for name in names:
        path = root / f"person{name}_uncomp.avi"
        files.video(path, files.frames(1, 30, (160, 120)), "mpeg4")
    (root / "00sequences.txt").write_text(SEQUENCES)
    report = run_import("kth", Kth(root), tmp_path / "s", ImportConfig())
    assert report.episodes == {"train": 3, "test": 1}
    frames = files.frames(1, 30)[..., :1]
    expected = (frames[:8], frames[10:14], frames[24:30])
    for episode, images in zip(files.episodes(tmp_path / "s" / "train"), expected, strict=True):
        assert np.abs(episode["obs/image"].astype(int) - images).max() <= 6
    out = "of 30 frames left out: not among those of 00sequences.txt"
    assert report.notes == [
        ("person01_boxing_d1_uncomp.avi[0:8]", f"12 {out}"),
        ("person21_walking_d4_uncomp.avi[2:30]", f"2 {out}"),
    ]
    assert [why for _, why in report.skipped] == ["not in 00sequences.txt: see --whole"] * 2
    source = Kth(root, whole=True)
    assert [video.steps for name in source.names() for video in source.read(name)] == [30] * 4
    (root / "00sequences.txt").write_text("none")
    with pytest.raises(ValueError, match="expected lines of KTH's sequences"):
        list(Kth(root).read("person01_boxing_d1_uncomp.avi"))


def pictures(folder, images, name="frame_{}.png", first=1):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / name.format(first + number))


def test_folders_of_pictures_are_videos(tmp_path, files):
    """In the order of their numbers, 9 before 10; a series each; beside videos they are none."""
    root = tmp_path / "v"
    walk, run, both = files.frames(0, 12), files.frames(1, 3), files.frames(2, 8)
    pictures(root / "train" / "walk", walk)
    pictures(root / "test" / "run", run, "{}.jpg")
    pictures(root / "train" / "both", both[:4], "left{:02}.PNG")
    pictures(root / "train" / "both", both[4:], "right{:02}.PNG")
    pictures(root / "train" / "words", both[:2], "b{}.png")
    for number, name in enumerate("ab"):
        Image.fromarray(walk[number]).save(root / "train" / "words" / f"{name}.png")
    pictures(root / "train" / "one", walk[:1])
    files.video(root / "train" / "clip" / "v.mp4", files.frames(0, 5))
    pictures(root / "train" / "clip", walk[:2], "poster{}.jpg")
    source = VideoFolder(root)
    found, reasons = {}, {}
    for name in source.names():
        try:
            [found[name]] = source.read(name)
        except ValueError as error:
            reasons[name] = str(error)
    expected = {
        "test/run/#.jpg": run,
        "train/both/left#.PNG": both[:4],
        "train/both/right#.PNG": both[4:],
        "train/clip/v.mp4": files.frames(0, 5),
        "train/walk/frame_#.png": walk,
        "train/words/*.png": walk[:2],
        "train/words/b#.png": both[:2],
    }
    assert set(found) == set(expected)
    for name, images in expected.items():
        assert np.abs(found[name].obs["image"].astype(int) - images).max() <= 6, name
    assert source.split("test/run/#.jpg") == "test"
    assert reasons == {
        "train/clip/poster#.jpg": "pictures next to videos, which are not read as frames",
        "train/one/frame_#.png": "one picture alone, expected the frames of a video",
    }
    with pytest.raises(ValueError, match="frames without times, which --fps needs"):
        VideoFolder(root, fps=5).read("train/walk/frame_#.png")


SERIES = {
    "{:04}_cam0.png {:04}_cam1.png": {"#_cam0.png": 12, "#_cam1.png": 12},
    "frame_{:04}_640x480.png": {"frame_#_640x480.png": 12},
    "clip1_{}.png clip2_{}.png": {"clip1_#.png": 12, "clip2_#.png": 12},
    "shot1.{:04}.png shot2.{:04}.png": {"shot1.#.png": 12, "shot2.#.png": 12},
    "010.{:04}.png 020.{:04}.png": {"010.#.png": 12, "020.#.png": 12},
    "2024.01.05_{}.png": {"2024.01.05_#.png": 12},
}


@pytest.mark.parametrize("names", SERIES)
def test_one_number_is_the_frames_and_the_others_name_the_video(names):
    paths = [name.format(n) for name in names.split() for n in range(1, 13)]
    assert {name: len(one.paths) for name, one in series(sorted(paths)).items()} == SERIES[names]


def test_many_clips_of_few_frames_in_one_folder():
    found = series([f"clip{clip:03}_{n}.png" for clip in range(40) for n in range(12)])
    assert len(found) == 40 and found["clip007_#.png"].paths[9:11] == [
        *("clip007_9.png", "clip007_10.png")
    ]


def test_pictures_named_by_decimal_times_are_one_video():
    """Times as TUM's RGB-D recordings have them: no number is missing among them."""
    times = [f"rgb/{1305031102 + n // 3}.{(n % 3) * 331_000 + 17:06}.png" for n in range(12)]
    [(name, one)] = series(sorted(times)).items()
    assert (name, one.paths, one.notes) == ("rgb/#.png", times, ())


def test_pictures_that_are_damaged_or_missing_are_named(tmp_path, files):
    pictures(tmp_path / "a", files.frames(0, 12))
    for number in (4, 5):
        (tmp_path / "a" / f"frame_{number}.png").unlink()
    video = only(VideoFolder(tmp_path, Look(max_frames=20)))
    assert video.steps == 10
    assert video.notes == ("numbers missing among those of the pictures: 2",)
    (tmp_path / "a" / "frame_7.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(ValueError, match=r"frame_7\.png: a picture that is not a readable PNG"):
        only(VideoFolder(tmp_path))
    Image.new("RGB", (32, 30)).save(tmp_path / "a" / "frame_7.png")
    with pytest.raises(ValueError, match=r"frame_7\.png of 32x30 pixels, expected 64x64"):
        only(VideoFolder(tmp_path))


def test_crop_takes_the_middle_squeeze_and_pad_the_whole(tmp_path, files):
    files.video(tmp_path / "v.mp4", halves(3, 256, 128))
    crop, squeeze, pad = (
        only(VideoFolder(tmp_path, Look(fit=fit))).obs["image"][0, :, :, 0].astype(int)
        for fit in ("crop", "squeeze", "pad")
    )
    assert (abs(crop[32, 2:30] - 40) < 8).all() and (crop[32, 34:62] > 200).all()
    for row in (squeeze[2], squeeze[32], pad[18], pad[32]):
        assert (abs(row[:7] - 120) < 8).all()
        assert (abs(row[10:30] - 40) < 8).all() and (row[34:54] > 200).all()
    assert (pad[:16] == 0).all() and (pad[48:] == 0).all()
    np.testing.assert_array_equal(only(VideoFolder(tmp_path)).obs["image"][0, :, :, 0], squeeze)


@pytest.mark.parametrize("size", [(98, 66), (30, 20), (64, 64), (350, 62), (64, 2)])
@pytest.mark.parametrize("fit", ["crop", "squeeze"])
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
    """Of 30 frames at 25 fps (1.2 s): at 10 fps the one shown at every 0.1 s, 12 in all."""
    images = files.frames(0, 30)
    files.video(tmp_path / "v.mp4", images)
    few = only(VideoFolder(tmp_path, fps=10)).obs["image"]
    kept = [0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27]  # shown at k / 10: largest n / 25 <= that
    assert np.abs(few.astype(int) - images[kept]).max() <= 6 and len(few) == 12
    many = only(VideoFolder(tmp_path, fps=100)).obs["image"]  # each frame four times
    assert np.abs(many.astype(int) - images.repeat(4, axis=0)).max() <= 6 and len(many) == 120
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


def encoded(path, images, codec="h264", pix_fmt="yuv420p", times=None, sound=(0.0, "")):
    """A video whose frame n is shown at times[n] / 25 s; with seconds of silence, by some codec,
    from the first frame on."""
    times = range(len(images)) if times is None else times
    seconds, voice = sound
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = images.shape[2], images.shape[1], pix_fmt
        if seconds:
            spoken = container.add_stream(voice, rate=48000, bit_rate=64000, layout="stereo")
        for time, image in zip(times, images, strict=True):
            kind = "rgba" if image.shape[-1] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(image, format=kind)
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for number in range(int(seconds * 50)):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), "s16", "stereo")
            silence.sample_rate, silence.pts = 48000, 960 * number + 1920 * times[0]
            container.mux(spoken.encode(silence))
        if seconds:
            container.mux(spoken.encode())
    return path


VIDEOS = [("mkv", "h264", "aac"), ("webm", "libvpx", "libopus"), ("wmv", "wmv2", "wmav2")]
VIDEOS += [("avi", "mpeg4", "mp2"), ("mp4", "h264", "aac"), ("flv", "flv1", "aac")]
VIDEOS += [("ts", "h264", "aac")]


@pytest.mark.parametrize(("suffix", "codec", "voice"), VIDEOS)
@pytest.mark.parametrize("sound", [0.0, 4.0])
def test_a_video_may_begin_late_and_its_sound_last_longer(
    tmp_path, files, suffix, codec, voice, sound
):
    """A piece that was cut out of a longer recording keeps its times: it is not cut short."""
    times = range(500, 530)
    encoded(tmp_path / f"v.{suffix}", files.frames(1, 30), codec, times=times, sound=(sound, voice))
    image = only(VideoFolder(tmp_path)).obs["image"]
    assert np.abs(image.astype(int) - files.frames(1, 30)).max() <= 8


def test_what_is_cut_short_is_named_beside_sound_too(tmp_path, files):
    path = encoded(tmp_path / "v.mkv", files.frames(1, 90), sound=(3.6, "aac"))
    files.truncate(path)
    with pytest.raises(ValueError, match="cut short"):
        only(VideoFolder(tmp_path))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
@pytest.mark.parametrize("size", [96, 64, 32])
def test_white_is_white_and_black_black(tmp_path, size, pix_fmt):
    """Y = 235 of 4:2:0 colour is 255: the chroma is interpolated in full."""
    image = np.zeros((2, 96, 96, 3), np.uint8)
    image[:, :, 48:] = 255
    encoded(tmp_path / "v.mkv", image, "ffv1", pix_fmt)
    shown = only(VideoFolder(tmp_path, Look(size=size))).obs["image"]
    assert (shown[:, :, : size // 2 - 2] == 0).all() and (shown[:, :, size // 2 + 2 :] == 255).all()


# row by row: (a, b, c, d) of x' = a x + c y, y' = b x + d y, and what becomes of [[1, 2], [3, 4]]
TURNS = [((1, 0, 0, 1), [[1, 2], [3, 4]]), ((-1, 0, 0, 1), [[2, 1], [4, 3]])]
TURNS += [((1, 0, 0, -1), [[3, 4], [1, 2]]), ((-1, 0, 0, -1), [[4, 3], [2, 1]])]
TURNS += [((0, 1, 1, 0), [[1, 3], [2, 4]]), ((0, 1, -1, 0), [[3, 1], [4, 2]])]
TURNS += [((0, -1, 1, 0), [[2, 4], [1, 3]]), ((0, -1, -1, 0), [[4, 2], [3, 1]])]


@pytest.mark.parametrize(("matrix", "shown"), TURNS)
def test_turned_and_mirrored_videos_are_upright(tmp_path, matrix, shown):
    """The file says how its pictures are to be shown, by the matrix in its track's header."""
    quarters = np.repeat(np.repeat([[1, 2], [3, 4]], 32, 0), 32, 1)
    image = np.broadcast_to(50 * quarters[None, ..., None], (2, 64, 64, 3)).astype(np.uint8)
    path = encoded(tmp_path / "v.mp4", image)
    data = path.read_bytes()
    a, b, c, d = matrix
    unit, turned = (
        struct.pack(">9i", *(65536 * n for n in (p, q, 0, r, s, 0, 0, 0)), 1 << 30)
        for p, q, r, s in ((1, 0, 0, 1), (a, b, c, d))
    )
    header = data.index(b"tkhd")
    path.write_bytes(data[:header] + data[header:].replace(unit, turned, 1))
    seen = only(VideoFolder(tmp_path)).obs["image"][0, 16::32, 16::32, 0]
    np.testing.assert_array_equal(np.rint(seen / 50), shown)


TIMES = [0, 1, 2, 5, 6, 13, 14]  # in 1/25 s


def test_frames_at_unequal_times(tmp_path, files):
    """All of them and a word; or by --fps the one that is shown at each moment."""
    encoded(tmp_path / "v.mkv", files.frames(0, 7), times=TIMES)
    video = only(VideoFolder(tmp_path))
    assert video.steps == 7
    apart = "frames 0.04 to 0.28 s apart"
    assert video.notes == (f"{apart}, stored one after the other: --fps stores them by time",)
    for fps, expected in ((25, [0, 1, 2, 2, 2, 3, 4, *[4] * 6, 5, 6]), (5, [0, 3, 4])):
        video = only(VideoFolder(tmp_path, fps=fps))
        near = files.frames(0, 7)[expected]
        assert video.steps == len(expected)
        assert np.abs(video.obs["image"].astype(int) - near).max() <= 6
        said = f"{apart}: 7 stored as {len(expected)}, {fps} per second"
        assert video.notes == (said,)


def test_times_that_run_backwards_are_not_used(tmp_path, files):
    """An AVI has no times of its own, and FFmpeg's are wrong for the frames that H.264 reorders."""
    images = files.frames(0, 33)
    encoded(tmp_path / "v.avi", images)
    video = only(VideoFolder(tmp_path))
    assert np.abs(video.obs["image"].astype(int) - images).max() <= 8
    assert video.notes == ("frames at times that run backwards, stored one after the other",)
    assert video.interval is None
    with pytest.raises(ValueError, match=r"run backwards, .*; leave --fps out"):
        only(VideoFolder(tmp_path, fps=5))


def test_times_that_are_broken_fill_no_disk(tmp_path, files):
    encoded(tmp_path / "v.mkv", files.frames(0, 3), times=[0, 1, 10**8])
    with pytest.raises(
        ValueError, match=r"a frame that is shown 99,999,999 times, expected .*--fps"
    ):
        only(VideoFolder(tmp_path, fps=25))


def test_a_transparent_gif_lies_on_white_and_says_so(tmp_path):
    """What is not drawn is white, as in a browser; half of an edge pixel is half white."""
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((200, 0, 0, 255), (0, 0, 32, 64))
    image.save(tmp_path / "v.gif", save_all=True, append_images=[image.rotate(180)], duration=100)
    video = only(VideoFolder(tmp_path))
    shown = video.obs["image"]
    np.testing.assert_array_equal(shown[0, 0, [0, 63]], [[200, 0, 0], [255, 255, 255]])
    assert video.notes == ("transparent in places: laid on white",)
    opaque = Image.new("RGB", (64, 64), (9, 9, 9))
    opaque.save(tmp_path / "v.gif", save_all=True, append_images=[opaque] * 2, duration=100)
    assert not only(VideoFolder(tmp_path)).notes


def test_partly_transparent_frames_are_mixed_with_white(tmp_path):
    image = np.zeros((2, 64, 64, 4), np.uint8)
    image[..., 3] = 51  # a fifth
    encoded(tmp_path / "v.mkv", image, "ffv1", "bgra")
    assert (only(VideoFolder(tmp_path)).obs["image"] == 204).all()
