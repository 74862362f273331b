"""Where episodes lie in a sequence: the one rule by which samplers cut them. docs/design.md.

A sequence has `lead + length` slots, lead = stride - 1 (stride = the top level's K):

    slot      0 .. lead-1   lead ..                                              lead+length-1
    holds     lead-in       frame s, s+1, ... | absorbing | next episode from its first frame ...
                                              ^ steps     ^ end: lead + a multiple of stride

The lead-in holds the frames before s, as far as there are any. Where the data end, an absorbing
step (last observation, everything else 0) follows `lead` times and then up to a multiple of the
stride: the tick that closes the last record's window is in the sequence whatever its phase, for a
terminal must be learned from. So an episode fills whole `blocks` of `stride` slots. Then another
one is packed from its first frame: no window of the top level mixes two. `mask` is 1 on real
records and 0 elsewhere, `is_first` is true on the first records of episodes alone. docs/adr/0002.

**Every record is drawn equally often**, whatever stride, length and episodes: a sequence starts at
a block drawn uniformly from those of all episodes, the absorbing ones included, and each episode
packed after it is drawn uniformly from all episodes. That is a cut, at a uniform place, of a stream
of episodes in random order: no place of it is special. Frames in the middle of blocks are no
starts: an episode's own start, which can lie on the clock alone, would be drawn less often than
they. docs/adr/0023.
"""

from typing import Any, NamedTuple


class Placed(NamedTuple):
    """An episode of ``steps`` records in a sequence, whose record ``frame`` lies in slot ``at``.

    Python's integers, or integer arrays of shapes that broadcast.
    """

    at: Any
    frame: Any
    steps: Any

    def time(self, slot: Any) -> Any:
        """The record in a slot: below 0 there is none, from ``steps`` on the step is absorbing."""
        return self.frame + slot - self.at

    def real(self, slot: Any) -> Any:
        """Whether a slot holds a record of it: the sequence's mask."""
        return (self.time(slot) >= 0) & (self.time(slot) < self.steps)

    def end(self, stride: int) -> Any:
        """The slot after its absorbing steps, in which the next episode begins."""
        return self.at + blocks(self.steps, stride) * stride - self.frame


def blocks(steps: Any, stride: int) -> Any:
    """How many blocks of ``stride`` slots an episode fills with its absorbing steps."""
    return -(-(steps + stride - 1) // stride)


def start(block: Any, steps: Any, stride: int) -> Placed:
    """The first episode of a sequence that starts at one of its blocks, after the lead-in."""
    return Placed(stride - 1, block * stride, steps)


def follow(before: Placed, steps: Any, stride: int) -> Placed:
    """The episode packed after another, from its first frame."""
    return Placed(before.end(stride), 0, steps)
