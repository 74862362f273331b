"""Frames of one video file, decoded by FFmpeg (PyAV). Damaged or truncated files are errors."""

import math
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from common import UserError
from recordings.episode import Video, piece_name
from recordings.importers.bounds import HELD, PICTURE
from recordings.importers.images import ON_WHITE, Look, fit_frame

SUFFIXES = (
    ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts",
    ".webm", ".wmv",
)  # fmt: skip
"""Suffixes of the files that are taken from a folder of videos."""

_OPTIONS = {
    "format_whitelist": "mov,mp4,avi,matroska,webm,mpeg,mpegts,gif,asf,flv,ogg",
    "protocol_whitelist": "file",
}
"""Video containers only: no playlist, whatever its name, makes FFmpeg open other locations."""

_FROM_0 = ("matroska,webm", "asf")
"""Containers that state one duration for all streams, from time 0, not from the first frame."""

_TICK = 1e-3  # seconds, to which containers round times
_SLACK = 4  # frames by which a file's stated length may be off


@dataclass
class Found:
    """What is known about a file's frames once they have been read; times in seconds."""

    frames: int = 0  # decoded
    stored: int = 0
    end: float = 0.0  # of the last frame
    gaps: "array[float]" = field(default_factory=lambda: array("d"))  # from frame to frame
    transparent: bool = False
    _last: float = 0.0

    def add(self, frame: av.VideoFrame) -> None:
        """Count one more frame, in display order."""
        now, gap = frame.time or 0.0, 0.0
        if frame.time is not None and self.frames:
            gap = now - self._last
            self.gaps.append(gap)
        lasts = float((frame.duration or 0) * (frame.time_base or 0))
        self.end, self._last = now + (lasts or max(0.0, gap)), now  # the last may be held
        self.frames += 1

    @property
    def longest(self) -> float:
        """The longest time between one frame and the next."""
        return max(self.gaps, default=0.0)

    @property
    def backwards(self) -> bool:
        """Whether a frame's time is before that of the frame shown before it."""
        return min(self.gaps, default=0.0) < 0

    @property
    def interval(self) -> float | None:
        """The median time between frames; None if there is no such time."""
        median = float(np.median(self.gaps)) if self.gaps else 0.0
        return median if median > 0 and not self.backwards else None

    def notes(self, fps: float | None) -> tuple[str, ...]:
        """What was changed on import, and what the user should know."""
        shortest = min(self.gaps, default=0.0)
        varies = self.longest > 1.5 * shortest + _TICK
        apart = f"frames {shortest:.3g} to {self.longest:.3g} s apart"
        notes = []
        if self.backwards:
            notes += ["frames at times that run backwards, stored one after the other"]
        elif fps is not None and (varies or self.stored > self.frames):
            notes += [f"{apart}: {self.frames:,} stored as {self.stored:,}, {fps:g} per second"]
        elif varies:
            notes += [f"{apart}, stored one after the other: --fps stores them by time"]
        return tuple(notes + [ON_WHITE] * self.transparent)


def read_video(
    name: str, path: Path, look: Look, channels: int, fps: float | None
) -> Iterator[Video]:
    """Read the video as episodes of at most `look.max_frames` frames, decoded on demand.

    Args:
      name: of the video; pieces of a longer one are named by their frames.
      path: the file.
      look: how frames are made to fit.
      channels: 1 (grey) or 3.
      fps: frames stored per second of video, each the one that is shown at its time; None stores
        every frame once.
    Raises:
      UserError: with the reason, once the file proves to be damaged, cut short or not a video.
    """
    found = Found()
    frames = read_frames(path, look, channels, fps, found)
    for piece in in_pieces(name, frames, look, lambda: found.notes(fps)):
        yield piece if fps is not None else piece._replace(interval=found.interval)


def in_pieces(
    name: str,
    frames: Iterable[np.ndarray],
    look: Look,
    notes: Callable[[], tuple[str, ...]],
) -> Iterator[Video]:
    """Frames as episodes of at most `look.max_frames`; the last episode gets the notes, which are
    requested once all frames are read."""
    first, block = 0, list[np.ndarray]()
    for frame in frames:
        if len(block) == look.max_frames:
            cut = ("longer than --max-frames: stored in pieces",) if first == 0 else ()
            piece, images = piece_name(name, first, first + len(block)), np.stack(block)
            first += len(block)
            block.clear()
            yield Video(piece, {"image": images}, notes=cut)
        block.append(frame)
    if not block:
        raise UserError("no frames in it")
    piece = name if first == 0 else piece_name(name, first, first + len(block))
    yield Video(piece, {"image": np.stack(block)}, notes=notes())


def read_frames(
    path: Path, look: Look, channels: int, fps: float | None = None, found: Found | None = None
) -> Iterator[np.ndarray]:
    """Read the frames in order, each uint8 [S, S, C]. Arguments and errors are as in `read_video`;
    `found` is filled along the way."""
    found = found or Found()
    if not path.is_file():
        raise UserError("no regular file")
    if path.stat().st_size == 0:
        raise UserError("an empty file")
    try:
        with av.open(str(path), options=_OPTIONS, metadata_errors="replace") as container:
            for frame, times in _at_rate(_decoded(container, found), fps, found):
                image, transparent = fit_frame(frame, look, channels)
                found.transparent |= transparent
                found.stored += times
                yield from repeat(image, times)
    except av.FFmpegError as error:
        raise UserError(f"damaged or no video: {error.strerror or error}") from error


def _decoded(container: InputContainer, found: Found) -> Iterator[av.VideoFrame]:
    """Decode all frames; raise UserError if one is damaged or the end is missing."""
    stream = container.streams.best("video")  # not the cover picture of a song
    if not isinstance(stream, VideoStream):
        raise UserError("no video in it")
    stream.thread_type = "AUTO"
    if stream.codec_context is None:
        raise UserError("damaged, or of a codec that is not known")
    stream.codec_context.options = {"max_pixels": str(PICTURE)}
    reached = 0.0  # time at which the last packet of any stream ends, seconds
    for packet in container.demux():
        if packet.pts is not None:
            ends = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            reached = max(reached, ends)
        if packet.stream is not stream:
            continue
        if packet.is_corrupt:
            raise UserError(f"cut short or damaged after {found.frames} frames")
        for frame in stream.decode(packet):
            if frame.is_corrupt:
                raise UserError(f"damaged at frame {found.frames}")
            found.add(frame)
            yield frame
    _check_end(container, stream, found, reached)


def _check_end(
    container: InputContainer, stream: VideoStream, found: Found, reached: float
) -> None:
    """Raise UserError if the file's header promises more after the last frame or, if it states one
    duration for all streams, after the last of them, as sound may last longer than the picture."""
    whole = container.format.name in _FROM_0
    if stream.duration is not None and stream.time_base is not None and not whole:
        promised = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
        end = found.end
    elif container.duration is not None:
        start = 0 if whole else container.start_time or 0
        promised, end = (start + container.duration) / av.time_base, max(reached, found.end)
    else:
        return
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    if rate > 0 and promised - end > max(_SLACK / rate, found.longest):
        raise UserError(f"cut short: {end:.2f} of {promised:.2f} seconds")


def _at_rate(
    frames: Iterator[av.VideoFrame], fps: float | None, found: Found
) -> Iterator[tuple[av.VideoFrame, int]]:
    """Each frame that is stored, and how many times: at every k / fps seconds after the first
    frame, the frame that is shown then; if fps is None, each frame once."""
    if fps is None:
        yield from ((frame, 1) for frame in frames)
        return
    shown: av.VideoFrame | None = None
    start, stored = 0.0, 0
    for frame in frames:
        if frame.time is None:
            raise UserError("frames without times, which --fps needs")
        if found.gaps and found.gaps[-1] < 0:
            raise UserError(
                "frames at times that run backwards, as of H.264 in AVI, which --fps cannot use; "
                "leave --fps out, or convert the video to MP4 at a constant rate"
            )
        start = frame.time if shown is None else start
        if shown is not None and (times := _moments(frame.time - start, fps) - stored) > 0:
            yield shown, _held(times)
            stored += times
        shown = frame
    if shown is not None:
        times = _moments(found.end - start, fps) - stored
        if times > 0 or not stored:
            yield shown, _held(max(1, times))


def _moments(seconds: float, fps: float) -> int:
    """How many k / fps, k = 0, 1, ..., precede a time, which may be rounded to a tick."""
    return math.ceil((seconds - min(_TICK, 0.25 / fps)) * fps)


def _held(times: int) -> int:
    """Raise UserError for a frame shown longer than any real picture is: its times are broken."""
    if times > HELD:
        raise UserError(
            f"a frame that is shown {times:,} times, expected at most {HELD:,}; lower --fps"
        )
    return times
