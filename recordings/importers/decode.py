"""Frames of one video file, decoded by FFmpeg (PyAV). What is damaged or cut short is an error."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from common import UserError
from recordings.episode import Video, piece_name
from recordings.importers.bounds import PICTURE
from recordings.importers.images import Look, fit_frame

SUFFIXES = (
    ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts",
    ".webm", ".wmv",
)  # fmt: skip
"""Of files that a folder of videos is searched for."""

_OPTIONS = {
    "format_whitelist": "mov,mp4,avi,matroska,webm,mpeg,mpegts,gif,asf,flv,ogg",
    "protocol_whitelist": "file",
}
"""Containers of video only: no playlist, however it is named, makes FFmpeg open other places."""

_SLACK = 3  # frames by which a file's own length may be off


def read_video(
    name: str, path: Path, look: Look, channels: int, fps: float | None
) -> Iterator[Video]:
    """The video as episodes of at most `look.max_frames` frames, decoded as they are asked for.

    Args:
      name: of the video; pieces of a longer one are named by their frames.
      path: the file.
      look: how frames are made to fit.
      channels: 1 (grey) or 3.
      fps: frames kept per second of video; None keeps all.
    Raises:
      UserError: with the reason, once the file is found to be damaged, cut short or no video.
    """
    first, block = 0, list[np.ndarray]()
    for frame in read_frames(path, look, channels, fps):
        if len(block) == look.max_frames:
            notes = ("longer than --max-frames: stored in pieces",) if first == 0 else ()
            piece, images = piece_name(name, first, first + len(block)), np.stack(block)
            first += len(block)
            block.clear()
            yield Video(piece, {"image": images}, notes=notes)
        block.append(frame)
    if not block:
        raise UserError("no frames in it")
    piece = name if first == 0 else piece_name(name, first, first + len(block))
    yield Video(piece, {"image": np.stack(block)})


def read_frames(
    path: Path, look: Look, channels: int, fps: float | None = None
) -> Iterator[np.ndarray]:
    """The frames in order, each uint8 [S, S, C]. Arguments and errors as of `read_video`."""
    if not path.is_file():
        raise UserError("no regular file")
    if path.stat().st_size == 0:
        raise UserError("an empty file")
    try:
        with av.open(str(path), options=_OPTIONS, metadata_errors="replace") as container:
            if not container.streams.video:
                raise UserError("no video in it")
            for frame in _subsampled(_decoded(container), fps):
                yield fit_frame(frame, look, channels)
    except av.FFmpegError as error:
        raise UserError(f"damaged or no video: {error.strerror or error}") from error


def _decoded(container: InputContainer) -> Iterator[av.VideoFrame]:
    """All frames; UserError where one is damaged or the end is missing."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    if stream.codec_context is None:
        raise UserError("damaged, or of a codec that is not known")
    stream.codec_context.options = {"max_pixels": str(PICTURE)}
    count, end = 0, 0.0
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise UserError(f"cut short or damaged after {count} frames")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise UserError(f"damaged at frame {count}")
            count += 1
            lasts = float((frame.duration or 0) * (frame.time_base or 0))  # the last may be held
            end = (frame.time or 0.0) + lasts
            yield frame
    _check_end(container, count, end)


def _check_end(container: InputContainer, count: int, end: float) -> None:
    """UserError if the file's header promises frames after the last one.

    Args:
      count: frames decoded.
      end: time at which the last one ends, seconds.
    """
    stream = container.streams.video[0]
    if container.format.name == "avi" and count < stream.frames - _SLACK:
        raise UserError(f"cut short: {count} of {stream.frames} frames")
    if stream.duration is not None and stream.time_base is not None:
        promised = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    elif container.duration is not None and len(container.streams) == 1:
        promised = ((container.start_time or 0) + container.duration) / av.time_base
    else:
        return
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    if rate > 0 and promised - end > (_SLACK + 1) / rate:
        raise UserError(f"cut short: {end:.2f} of {promised:.2f} seconds")


def _subsampled(frames: Iterator[av.VideoFrame], fps: float | None) -> Iterator[av.VideoFrame]:
    """The first frame of every 1/fps seconds, counted from the first; all where fps is None."""
    seen = -1
    start: float | None = None
    for frame in frames:
        if fps is None:
            yield frame
            continue
        if frame.time is None:
            raise UserError("frames without times, which --fps needs")
        start = frame.time if start is None else start
        now = int((frame.time - start) * fps + 1e-6)
        if now > seen:
            seen = now
            yield frame
