"""`worldmodel/clock.py`: every function by numbers worked out by hand, and against plain loops."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worldmodel import clock

TWO = [1, 1, 1, 2, 2, 2, 2, 2]  # segments of two episodes in one sequence


def integers(values: list[int]) -> jax.Array:
    return jnp.array(values, jnp.int32)


def flags(text: str) -> jax.Array:
    """Booleans drawn as in "..x.": x is True."""
    return jnp.array([c == "x" for c in text])


def reals(text: str) -> jax.Array:
    """A mask drawn as in "11100": 1 real, 0 padding."""
    return jnp.array([float(c) for c in text])


def column(values: list[float]) -> jax.Array:
    return jnp.array(values, jnp.float32)[:, None]


def window_by_loop(x: np.ndarray, segment: np.ndarray, width: int) -> list[list[np.ndarray]]:
    """The causal window of every time, oldest first: zeros outside the segment."""
    return [
        [
            x[s] if s >= 0 and segment[s] == segment[t] else np.zeros_like(x[0])
            for s in range(t - width + 1, t + 1)
        ]
        for t in range(len(x))
    ]


def random_sequence(length: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(length)
    return rng.normal(size=(length, 3)).astype(np.float32), np.cumsum(rng.random(length) < 0.15)


@pytest.mark.parametrize("strides", [(1,), (1, 1, 1), (1, 4), (1, 6, 36), (1, 2, 8)])
def test_strides_that_divide_pass(strides: tuple[int, ...]) -> None:
    assert clock.check_strides(list(strides)) == strides


@pytest.mark.parametrize("strides", [(), (2,), (1, 0), (1, 4, 6), (1, -2), (4, 1)])
def test_other_strides_are_refused(strides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="strides: expected 1 first and each dividing the next"):
        clock.check_strides(strides)


def test_lead_in() -> None:
    assert clock.lead_in((1, 4, 16), "causal") == 15
    assert clock.lead_in((1,), "causal") == 0
    assert clock.lead_in((1, 6, 36), "lookahead") == 0


def test_segments_count_starts() -> None:
    assert clock.segments(flags("..x...x.")).tolist() == [0, 0, 1, 1, 1, 1, 2, 2]


def test_last_real_repeats_the_newest_real_record() -> None:
    assert clock.last_real(reals("00110010")).tolist() == [0, 0, 2, 3, 3, 3, 6, 6]


def test_begun_at_the_first_real_record() -> None:
    assert clock.begun(reals("00100")).tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 9])
def test_shift(steps: int) -> None:
    x = jnp.arange(1, 5)
    expected = [x[t - steps] if t >= steps else 7 for t in range(4)]
    assert clock.shift(x, steps, 7).tolist() == [int(v) for v in expected]


def test_window_sum_by_hand() -> None:
    x, segment = column([1, 2, 4, 8, 16, 32, 64, 128]), integers(TWO)
    assert clock.window_sum(x, segment, 3)[:, 0].tolist() == [1, 3, 7, 8, 24, 56, 112, 224]
    assert clock.window_sum(x, segment, 1)[:, 0].tolist() == x[:, 0].tolist()


def test_window_stack_by_hand() -> None:
    x, segment = column([1, 2, 4, 8, 16]), integers(TWO[:5])
    assert clock.window_stack(x, segment, 2).tolist() == [[0, 1], [1, 2], [2, 4], [0, 8], [8, 16]]


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 36, 64])
def test_windows_as_a_plain_loop(width: int) -> None:
    """Also where the window is wider than the sequence."""
    x, segment = random_sequence(41)
    windows = window_by_loop(x, segment, width)
    arrays = jnp.asarray(x), jnp.asarray(segment, jnp.int32)
    total = np.array([np.sum(window, axis=0) for window in windows])
    stack = np.array([np.concatenate(window) for window in windows])
    fast = [
        jax.jit(function, static_argnums=2)(*arrays, width)
        for function in (clock.window_sum, clock.window_stack)
    ]
    np.testing.assert_allclose(fast[0], total, atol=1e-5)
    np.testing.assert_array_equal(fast[1], stack)


@pytest.mark.parametrize("width", [3, 6, 8])
def test_window_sum_is_untouched_by_what_it_does_not_hold(width: int) -> None:
    """adr-1: bit by bit, whatever the size of the numbers outside the window."""
    x = random_sequence(30)[0]
    large = x.copy()
    large[10] = 1e30
    sum_of = jax.jit(lambda v: clock.window_sum(v, integers([0] * 30), width))
    sums = [sum_of(jnp.asarray(v)) for v in (x, large)]
    outside = [t for t in range(30) if not 10 <= t < 10 + width]
    np.testing.assert_array_equal(sums[0][np.array(outside)], sums[1][np.array(outside)])
    assert not np.any(sums[0][10 : 10 + width] == sums[1][10 : 10 + width])


def test_pad_end() -> None:
    assert clock.pad_end(jnp.ones((5, 2)), 4).tolist() == [[1, 1]] * 5 + [[0, 0]] * 3
    assert clock.pad_end(jnp.ones((4, 2)), 4).shape == (4, 2)


def test_restarts() -> None:
    segment = integers([0, 0, 0, 1, 1, 1, 1, 2, 2])  # lead-in of 3; episodes start at main 0 and 4
    drawn = "".join("x" if v else "." for v in clock.restarts(segment, 2, 3).tolist())
    assert drawn == "xx..xx"
    assert clock.restarts(segment, 4, 3).tolist() == [True] * 6
    middle = integers([5] * 9)  # a sequence from the middle of an episode
    assert clock.restarts(middle, 4, 3).tolist() == [True] + [False] * 5


def causal(stride: int, lead: int, every: int) -> clock.Alignment:
    return clock.Alignment("causal", stride, lead, every)


def test_causal_inputs_by_hand() -> None:
    """The drawing of the module's docstring: K = 4, an episode from main time 0, ticks 0, 4, 8."""
    frame = column([99, 99, 99, 1, 2, 4, 8, 16, 32, 64, 128, 256])
    action = -frame
    is_first, mask = flags("...x........"), reals("000111111111")
    inputs = clock.tick_inputs(frame, action, is_first, mask, causal(4, 3, 4))
    assert inputs.embed.tolist() == [[1, 1], [16, 30], [256, 480]]
    assert inputs.action.tolist() == [[0, 0, 0, -1], [-2, -4, -8, -16], [-32, -64, -128, -256]]
    assert inputs.restart.tolist() == [True, False, False]


def test_causal_inputs_read_the_lead_in() -> None:
    frame = column([1, 2, 4, 8, 16, 32, 64])
    inputs = clock.tick_inputs(frame, frame, flags("......."), reals("1111111"), causal(4, 3, 4))
    assert inputs.embed.tolist() == [[8, 15]]
    assert inputs.action.tolist() == [[1, 2, 4, 8]]


def test_a_lead_in_that_is_not_known_is_zeros() -> None:
    """The start of an episode was forgotten by the store: no `is_first`, and padding before."""
    frame = column([5, 7, 4, 8, 16, 32, 64])
    inputs = clock.tick_inputs(frame, frame, flags("......."), reals("0011111"), causal(4, 3, 4))
    assert inputs.embed.tolist() == [[8, 12]]
    assert inputs.action.tolist() == [[0, 0, 4, 8]]


def test_causal_inputs_at_every_phase() -> None:
    frame = column([1, 2, 4, 8, 16])
    inputs = clock.tick_inputs(frame, frame, flags("..x.."), reals("11111"), causal(3, 2, 1))
    assert inputs.embed.tolist() == [[4, 4], [8, 12], [16, 28]]
    assert inputs.action.tolist() == [[0, 0, 4], [0, 4, 8], [4, 8, 16]]
    assert inputs.restart.tolist() == [True, True, True]


def test_causal_padding_repeats_the_newest_frame_and_adds_none() -> None:
    frame, action = column([1, 2, 4, 8, 99, 99]), column([1, 2, 4, 8, 16, 32])
    inputs = clock.tick_inputs(frame, action, flags("x....."), reals("111100"), causal(3, 0, 1))
    assert inputs.embed[4:].tolist() == [[8, 12], [8, 8]]
    assert inputs.action[4:].tolist() == [[4, 8, 16], [8, 16, 32]]  # absorbing steps have actions


def test_lookahead_inputs_by_hand() -> None:
    """Ceil ticks: a last window that the sequence or padding cuts short holds what there is."""
    frame = column([1, 2, 4, 8, 16, 32, 64])
    alignment = clock.Alignment("lookahead", 4, 0, 4)
    inputs = clock.tick_inputs(frame, -frame, flags("x......"), reals("1111111"), alignment)
    assert inputs.embed.tolist() == [[15], [112]]
    assert inputs.action.tolist() == [[-1, -2, -4, -8], [-16, -32, -64, 0]]
    assert inputs.restart.tolist() == [True, False]
    cut = clock.tick_inputs(frame, -frame, flags("x......"), reals("1111100"), alignment)
    assert cut.embed.tolist() == [[15], [16]]
    assert cut.action.tolist() == [[-1, -2, -4, -8], [-16, 0, 0, 0]]


def test_phases() -> None:
    chains = clock.to_phases(jnp.arange(6), 3)
    assert chains.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert clock.from_phases(chains).tolist() == [0, 1, 2, 3, 4, 5]
    x = jax.random.normal(jax.random.key(0), (8, 2))
    np.testing.assert_array_equal(clock.from_phases(clock.to_phases(x, 4)), x)


def test_alignment_is_checked() -> None:
    clock.check_alignment(np.asarray(flags("...x...x...."))[None], 4, 3)
    clock.check_alignment(np.asarray(flags(".x.........."))[None], 4, 3)  # inside the lead-in
    with pytest.raises(ValueError, match=r"multiples of the top stride 4 .* \[\(0, 2\)\]"):
        clock.check_alignment(np.asarray(flags("x....x......"))[None], 4, 3)


def test_ended_after_a_terminal_of_the_same_segment() -> None:
    terminal, segment = flags("..x.....x."), integers([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    drawn = "".join("x" if v else "." for v in clock.ended(terminal, segment).tolist())
    assert drawn == "...x.....x"


def test_ended_when_an_episode_is_one_terminal_record() -> None:
    assert clock.ended(flags("x.x."), integers([1, 1, 2, 2])).tolist() == [False, True] * 2


@pytest.mark.parametrize(
    ("terminal", "expected"),
    [
        ("..x.....", "11110000"),  # the tick at 3 closes the window (0..3) of the terminal at 2
        ("........", "11100000"),  # a time limit: what would have followed is not known
        ("..x.xx..", "11110000"),  # garbage in the padding
        ("....x...", "11100000"),
    ],
)
def test_tick_mask(terminal: str, expected: str) -> None:
    """adr-2, K = 2: one window after the last real record, and only after a terminal."""
    fields = (reals("11100000"), flags(terminal), flags("x......."))
    mask = clock.tick_mask(*fields, 2)
    assert mask.tolist() == [float(c) for c in expected]
    assert clock.tick_mask(*fields, 1).tolist() == fields[0].tolist()


def test_tick_mask_of_two_episodes() -> None:
    """K = 4: windows that end at 3, 4 and 5 hold the terminal at 2; the next episode is its own."""
    fields = (reals("1110000011110000"), flags("..x............."), flags("x.......x......."))
    assert clock.tick_mask(*fields, 4).tolist() == reals("1111110011110000").tolist()


def tick_mask_by_loop(
    mask: np.ndarray, terminal: np.ndarray, is_first: np.ndarray, stride: int
) -> list[float]:
    """Real, or: the window t-K+1 … t begins at a real record, and holds a terminal one."""
    result, segment = [], np.cumsum(is_first)
    for t in range(len(mask)):
        window = [s for s in range(t - stride + 1, t + 1)]
        whole = window[0] >= 0 and segment[window[0]] == segment[t] and mask[window[0]] > 0
        fell = whole and any(terminal[s] and mask[s] > 0 for s in window)
        result.append(1.0 if mask[t] > 0 or fell else 0.0)
    return result


@pytest.mark.parametrize("stride", [1, 2, 4, 5])
def test_tick_mask_as_a_plain_loop(stride: int) -> None:
    rng, mask_of = np.random.default_rng(0), jax.jit(partial(clock.tick_mask, stride=stride))
    for _ in range(50):
        lengths, masks, terminals, firsts = rng.integers(1, 12, size=4), [], [], []
        for length in lengths:  # episodes padded to a multiple of 5·4, ending in either way
            pad, ends = -length % 20, rng.random() < 0.5
            masks += [1.0] * length + [0.0] * pad
            terminals += [False] * (length - 1) + [bool(ends)] + [False] * pad
            firsts += [True] + [False] * (length + pad - 1)
        fields = np.array(masks, np.float32), np.array(terminals), np.array(firsts)
        fast = mask_of(*(jnp.asarray(f) for f in fields))
        assert fast.tolist() == tick_mask_by_loop(*fields, stride)
