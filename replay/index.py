"""An index in memory of the sealed chunks of all episodes: which steps exist, and where.

An episode is one `Segment` of contiguous chunks, or several if it lost a chunk. Segments are
ordered by episode, then chunk, whatever the order in which chunks were sealed, so that a reopened
store draws the same steps from the same random numbers. Read next: `store.py`.
"""

from bisect import bisect_right
from collections.abc import Container, Iterator
from dataclasses import dataclass, field

import numpy as np

from replay.chunk import MORE, Chunk
from replay.layout import blocks


@dataclass
class Segment:
    """Contiguous chunks of one episode. Frames are counted from the segment's first step."""

    chunks: list[Chunk]
    ends: list[int] = field(init=False)  # ends[i]: steps up to and including chunks[i]

    def __post_init__(self) -> None:
        self.ends = [int(end) for end in np.cumsum([chunk.steps for chunk in self.chunks])]

    @property
    def key(self) -> tuple[int, int]:
        """(episode, number of its first chunk): the order of segments."""
        return self.chunks[0].episode, self.chunks[0].number

    @property
    def steps(self) -> int:
        return self.ends[-1]

    @property
    def whole(self) -> bool:
        """Whether the segment begins with its episode's first frame."""
        return self.chunks[0].number == 0

    def continues(self, chunk: Chunk) -> bool:
        """Whether `chunk` is the next chunk of this segment."""
        last = self.chunks[-1]
        following = (last.episode, last.number + 1)
        return last.status == MORE and (chunk.episode, chunk.number) == following

    def extend(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        self.ends.append(self.ends[-1] + chunk.steps)

    def pieces(self, start: int, stop: int) -> Iterator[tuple[Chunk, int, int]]:
        """(chunk, first, end) slices that make up frames start..stop-1 in order."""
        which = bisect_right(self.ends, start)
        while start < stop:
            end = min(stop, self.ends[which])
            base = self.ends[which] - self.chunks[which].steps
            yield self.chunks[which], start - base, end - base
            start, which = end, which + 1


class Index:
    """Segments in order, with their lengths as one array to draw from."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._lengths = np.zeros(0, np.int64)
        self._whole = np.zeros(0, bool)
        self._tables: dict[int, np.ndarray] = {}  # by stride; see `draw_block`
        self._episodes: dict[int, int] = {}  # episode -> number of its segments
        self.steps = 0
        self.disk = 0

    @property
    def episodes(self) -> int:
        """Number of episodes with sealed steps."""
        return len(self._episodes)

    @property
    def broken(self) -> int:
        """Number of segments whose preceding chunk is missing."""
        return int((~self._whole).sum())

    def oldest(self, keep: Container[int]) -> int | None:
        """The oldest episode that is neither in `keep` nor the newest; None if there is none."""
        newest = self._segments[-1].key[0] if self._segments else -1
        numbers = (segment.key[0] for segment in self._segments)
        return next((n for n in numbers if n not in keep and n != newest), None)

    def add(self, chunk: Chunk) -> None:
        """Add a sealed chunk; chunks of one episode must be added in order."""
        at = bisect_right(self._segments, (chunk.episode, chunk.number), key=lambda s: s.key)
        if at and self._segments[at - 1].continues(chunk):
            self._segments[at - 1].extend(chunk)
            self._lengths[at - 1] += chunk.steps
        else:
            self._segments.insert(at, Segment([chunk]))
            self._lengths = np.insert(self._lengths, at, chunk.steps)
            self._whole = np.insert(self._whole, at, chunk.number == 0)
            self._episodes[chunk.episode] = self._episodes.get(chunk.episode, 0) + 1
        self._count(chunk, 1)

    def remove(self, episode: int) -> list[Chunk]:
        """Remove an episode; return its chunks, none if it is not there."""
        at = bisect_right(self._segments, (episode, -1), key=lambda s: s.key)
        end = at + self._episodes.pop(episode, 0)
        chunks = [chunk for segment in self._segments[at:end] for chunk in segment.chunks]
        del self._segments[at:end]
        self._lengths = np.delete(self._lengths, slice(at, end))
        self._whole = np.delete(self._whole, slice(at, end))
        for chunk in chunks:
            self._count(chunk, -1)
        return chunks

    def shorten(self, episodes: Container[int]) -> list[Chunk]:
        """Remove the first chunk of the longest segment of `episodes`; return it, or nothing if
        every segment is a single chunk. The rest becomes a segment of its own."""
        several = [
            at
            for at, segment in enumerate(self._segments)
            if segment.key[0] in episodes and len(segment.chunks) > 1
        ]
        if not several:
            return []
        at = max(several, key=lambda at: self._segments[at].steps)
        first, *rest = self._segments[at].chunks
        self._segments[at] = Segment(rest)
        self._lengths[at] -= first.steps
        self._whole[at] = False
        self._count(first, -1)
        return [first]

    def draw_block(self, rng: np.random.Generator, stride: int) -> tuple[Segment, int]:
        """Draw (segment, number) of a block, uniformly from all blocks (`layout.blocks`)."""
        if stride not in self._tables:
            self._tables[stride] = np.cumsum(blocks(self._lengths, stride))
        return self._pick(self._tables[stride], rng)

    def draw_whole(self, rng: np.random.Generator) -> Segment | None:
        """Draw a segment, uniformly from those with an episode's first frame; None without any."""
        whole = np.flatnonzero(self._whole)
        return self._segments[whole[rng.integers(len(whole))]] if len(whole) else None

    def clips(self, length: int) -> int:
        """Number of clips of ``length`` consecutive frames."""
        return int(np.maximum(self._lengths - length + 1, 0).sum())

    @property
    def longest(self) -> int:
        """Frames of the longest segment; 0 when empty."""
        return int(self._lengths.max(initial=0))

    def draw_clip(self, rng: np.random.Generator, length: int) -> tuple[Segment, int]:
        """Draw (segment, first frame) of a clip, uniformly from all clips of that length."""
        return self._pick(np.cumsum(np.maximum(self._lengths - length + 1, 0)), rng)

    def segment(self, episode: int, number: int) -> Segment | None:
        """The segment of ``episode`` whose first chunk has the given number, if there is one."""
        at = bisect_right(self._segments, (episode, number), key=lambda s: s.key) - 1
        found = at >= 0 and self._segments[at].key == (episode, number)
        return self._segments[at] if found else None

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, in order."""
        return tuple(self._segments)

    def _pick(self, table: np.ndarray, rng: np.random.Generator) -> tuple[Segment, int]:
        step = int(rng.integers(table[-1]))
        at = int(np.searchsorted(table, step, side="right"))
        return self._segments[at], step - (int(table[at - 1]) if at else 0)

    def _count(self, chunk: Chunk, sign: int) -> None:
        self.steps += sign * chunk.steps
        self.disk += sign * chunk.disk
        self._tables.clear()
