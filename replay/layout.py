"""How episodes are laid out in a sequence: the one rule that all samplers use. docs/design.md.

A sequence has `lead + length` slots, lead = stride - 1 (stride = the top level's K):

    slot      0 .. lead-1   lead ..                                              lead+length-1
    holds     lead-in       frame s, s+1, ... | absorbing | next episode from its first frame ...
                                              ^ steps     ^ end: lead + a multiple of stride

The lead-in holds the frames before s, as far as there are any. After an episode's last stored
record, an absorbing step (last observation, everything else 0) is repeated `lead` times and then up
to a multiple of the stride. The sequence therefore contains the tick that closes the last record's
window, whatever its phase, so that the model can learn from a terminal. An episode thus fills whole
`blocks` of `stride` slots. The next episode is then packed from its first frame, so that no window
of the top level mixes two episodes. `mask` is 1 on real records and 0 elsewhere; `is_first` is true
only on the first records of episodes. docs/adr/0002.

**Every record is drawn equally often**, whatever the stride, the length and the episodes: a
sequence starts at a block drawn uniformly from the blocks of all episodes, absorbing ones included,
and each episode packed after it is drawn uniformly from all episodes. This amounts to cutting a
stream of episodes in random order at a uniformly drawn place: no place in it is special. Sequences
do not start at frames in the middle of blocks: otherwise an episode's own start, which can only lie
on the clock, would be drawn less often than those frames. docs/adr/0023.
"""

from typing import Any, NamedTuple


class Placed(NamedTuple):
    """An episode of ``steps`` records in a sequence, whose record ``frame`` lies in slot ``at``.

    The fields are Python integers, or integer arrays whose shapes broadcast.
    """

    at: Any
    frame: Any
    steps: Any

    def time(self, slot: Any) -> Any:
        """The record in a slot: below 0 there is none, from ``steps`` on the step is absorbing."""
        return self.frame + slot - self.at

    def real(self, slot: Any) -> Any:
        """Whether a slot holds a record of the episode: the sequence's mask."""
        return (self.time(slot) >= 0) & (self.time(slot) < self.steps)

    def end(self, stride: int) -> Any:
        """The slot after the episode's absorbing steps, in which the next episode begins."""
        return self.at + blocks(self.steps, stride) * stride - self.frame


def blocks(steps: Any, stride: int) -> Any:
    """Number of blocks of ``stride`` slots that an episode fills, absorbing steps included."""
    return -(-(steps + stride - 1) // stride)


def start(block: Any, steps: Any, stride: int) -> Placed:
    """Place a sequence's first episode, such that ``block`` begins right after the lead-in."""
    return Placed(stride - 1, block * stride, steps)


def follow(before: Placed, steps: Any, stride: int) -> Placed:
    """Pack an episode after another one, from its first frame."""
    return Placed(before.end(stride), 0, steps)
