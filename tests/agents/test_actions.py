"""The chunk codec: every kind of action space, there and back; densities, entropies, gradients."""

from collections import OrderedDict
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import envs
from agents.actions import MAX_STD, MIN_STD, ActionCodec, ActionSample
from agents.chunk import ChunkCodec
from agents.factors import decode_array
from common import UserError
from worldmodel import clock

MIXED = spaces.Dict(
    {
        "camera": spaces.Box(np.float32([-180, -10]), np.float32([180, 30])),
        "key": spaces.Discrete(3, start=-1),
        "tools": spaces.Tuple((spaces.MultiBinary(3), spaces.MultiDiscrete([2, 4], start=[5, 0]))),
    }
)
SPACES: dict[str, gymnasium.Space[Any]] = {
    "box": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "box_bounds": spaces.Box(np.float32([[-2, 0], [5, -3]]), np.float32([[2, 1], [9, -2.5]])),
    "box_tiny": spaces.Box(np.float64(0.1), np.float64(0.3), (3,), np.float64),
    "box_single": spaces.Box(np.float32([0, 4]), np.float32([1, 4])),
    "box_scalar": spaces.Box(-3.0, 7.0, (), np.float32),
    "box_int": spaces.Box(-3, 12, (2, 2), np.int16),
    "box_uint8": spaces.Box(0, 255, (3,), np.uint8),
    "discrete": spaces.Discrete(4),
    "discrete_start": spaces.Discrete(5, start=-2),
    "discrete_one": spaces.Discrete(1, start=7),
    "multidiscrete": spaces.MultiDiscrete([3, 2, 5]),
    "multidiscrete_2d": spaces.MultiDiscrete([[3, 2], [2, 4]], start=[[1, 0], [-4, 9]]),
    "multibinary": spaces.MultiBinary(4),
    "multibinary_2d": spaces.MultiBinary((2, 3)),
    "mixed": MIXED,
    "nested": spaces.Dict({"b": MIXED, "a": spaces.Dict({"x": spaces.Discrete(2)})}),
    "tuple": spaces.Tuple((spaces.Box(0, 1, (1,)), spaces.Discrete(2), MIXED)),
    "navigate": envs.make("minerl_navigate", backend="builtin").action_space,
}
WIDTH = {"box_bounds": 4, "discrete_start": 5, "multidiscrete": 10, "multibinary": 8, "mixed": 17}
PRIMITIVES = {
    "box_bounds": 4,
    "discrete_start": 1,
    "multidiscrete": 3,
    "multibinary": 4,
    "mixed": 8,
}


def codec(name: str) -> ActionCodec:
    space = SPACES[name]
    space.seed(0)
    return ActionCodec(space)


def sample(c: ActionCodec, outputs: Any, key: Any) -> ActionSample:
    """Compiled as one: eager operations would be compiled one by one."""
    return jax.jit(c.sample)(outputs, key)


def log_prob(c: ActionCodec, outputs: Any, flat: Any) -> jax.Array:
    return jax.jit(c.log_prob)(outputs, flat)


def sample_chunk(chunk: ChunkCodec, outputs: Any, key: Any) -> ActionSample:
    """At any state of the top: the actor's numbers are all that it reads."""
    return jax.jit(chunk.sample)(outputs, jnp.zeros((*outputs.shape[:-1], 1)), key)


def mode(c: Any, outputs: Any) -> jax.Array:
    return jax.jit(c.mode)(outputs)


def spread(c: Any, outputs: Any) -> jax.Array:
    return jax.jit(c.spread)(outputs)


def same(a: Any, b: Any) -> bool:
    """Equal actions, continuous parts to float32's precision."""
    if isinstance(a, dict | OrderedDict):
        return set(a) == set(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(np.allclose(a, b, rtol=1e-5, atol=1e-5 * max(1.0, float(np.max(np.abs(b))))))


@pytest.mark.parametrize("name", SPACES)
def test_round_trip(name: str) -> None:
    c = codec(name)
    for _ in range(20):
        action = c.space.sample()
        flat = c.encode(action)
        assert flat.shape == (c.width,) and flat.dtype == np.float32
        assert np.all(np.abs(flat) <= 1)
        back = c.decode(flat)
        assert back in c.space and same(back, action)


@pytest.mark.parametrize("name", SPACES)
def test_any_flat_vector_decodes_into_the_space(name: str) -> None:
    c, rng = codec(name), np.random.default_rng(0)
    for scale in (0.1, 1.0, 30.0):
        for flat in scale * rng.normal(size=(20, c.width)).astype(np.float32):
            assert c.decode(flat) in c.space


@pytest.mark.parametrize("name", ["nested", "navigate"])
def test_what_the_actor_emits_is_what_the_environment_does(name: str) -> None:
    """Encoding the decoded action gives the sample back: the model sees what was done."""
    c = codec(name)
    outputs = 5 * jax.random.normal(jax.random.key(0), (30, c.outputs))
    for flat in np.asarray(sample(c, outputs, jax.random.key(1)).flat):
        np.testing.assert_allclose(c.encode(c.decode(flat)), flat, atol=1e-5)


@pytest.mark.parametrize("name", WIDTH)
def test_sizes(name: str) -> None:
    c = codec(name)
    assert (c.width, c.primitives) == (WIDTH[name], PRIMITIVES[name])
    assert c.outputs == sum(f.size if f.discrete else 2 * f.size for f in c.factors)


def test_flat_order_by_hand() -> None:
    action = {
        "camera": np.float32([90, 30]),
        "key": 1,
        "tools": (np.int8([1, 0, 1]), np.array([6, 2])),
    }
    expected = [0.5, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0]
    np.testing.assert_allclose(codec("mixed").encode(action), expected, atol=1e-6)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([1.0, 5.0], np.float32)),
        spaces.Discrete(4, start=3),
    ],
)
def test_actions_are_decoded_in_jax_as_they_are_in_numpy(space: Any) -> None:
    codec = ActionCodec(space)
    flat = np.random.default_rng(0).normal(size=(5, codec.width + 1)).astype(np.float32)
    got = decode_array(space, jnp.asarray(flat))
    want = [codec.decode(row[: codec.width]) for row in flat]
    np.testing.assert_allclose(got, np.stack(want), atol=1e-6)
    with pytest.raises(UserError, match="Box of floats or Discrete"):
        decode_array(spaces.MultiBinary(2), jnp.zeros((1, 4)))


def test_integer_box_rounds_to_the_nearest() -> None:
    c = ActionCodec(spaces.Box(0, 10, (3,), np.int64))
    np.testing.assert_array_equal(c.decode(np.float32([-0.92, 0.08, 7.0])), [0, 5, 10])


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Box(-np.inf, np.inf, (2,)), "finite bounds"),
        (spaces.Text(3), "expected Box"),
        (spaces.Dict({"a": spaces.Sequence(spaces.Discrete(2))}), "expected Box"),
    ],
)
def test_other_spaces_are_refused(space: gymnasium.Space[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ActionCodec(space)


def test_bad_actions_are_refused() -> None:
    with pytest.raises(ValueError, match="choices: expected 0 to 4"):
        codec("discrete_start").encode(3)
    with pytest.raises(ValueError, match="flat vector of 5"):
        codec("discrete_start").decode(np.zeros(6))


def gaussian(mean: float, std: float) -> jax.Array:
    """Actor outputs of a one-dimensional Box whose sample is Normal(mean, std)."""
    share = (std - MIN_STD) / (MAX_STD - MIN_STD)
    return jnp.array([np.arctanh(mean), np.log(share / (1 - share))])


def test_continuous_numbers_by_hand_and_by_monte_carlo() -> None:
    c = ActionCodec(spaces.Box(-1, 1, (1,)))
    mean, std, n = 0.2, 0.15, 20_000
    outputs = jnp.broadcast_to(gaussian(mean, std), (n, 2))
    drawn = sample(c, outputs, jax.random.key(0))
    x = np.asarray(drawn.flat[:, 0])
    assert abs(x.mean() - mean) < 4 * std / n**0.5 and abs(x.std() - std) < 0.005
    density = -0.5 * ((x - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
    logp = log_prob(c, outputs, drawn.flat)
    np.testing.assert_allclose(logp, density, atol=1e-3)  # nothing clipped at 5 std
    np.testing.assert_array_equal(drawn.log_prob, np.zeros(n))  # no score function is needed
    entropy = np.log(std * np.sqrt(2 * np.pi * np.e))
    np.testing.assert_allclose(drawn.entropy[0], [entropy], rtol=1e-5)
    np.testing.assert_allclose(-logp.mean(), entropy, atol=0.03)
    np.testing.assert_allclose(mode(c, outputs)[0], [mean], rtol=1e-5)
    np.testing.assert_allclose(spread(c, outputs)[0], [np.log(std / 0.1) / np.log(10)], rtol=1e-4)


def test_discrete_numbers_by_hand_and_by_monte_carlo() -> None:
    c = ActionCodec(spaces.Discrete(3))
    logits, n = jnp.array([0.0, 1.0, -2.0]), 20_000
    probs = 0.99 * np.exp(logits) / np.exp(logits).sum() + 0.01 / 3
    outputs = jnp.broadcast_to(logits, (n, 3))
    drawn = sample(c, outputs, jax.random.key(0))
    np.testing.assert_array_equal(np.sort(drawn.flat, -1), np.broadcast_to([0, 0, 1], (n, 3)))
    np.testing.assert_allclose(drawn.flat.mean(0), probs, atol=0.015)
    np.testing.assert_allclose(drawn.log_prob, np.log(probs)[drawn.flat.argmax(-1)], rtol=1e-4)
    entropy = -np.sum(probs * np.log(probs))
    np.testing.assert_allclose(drawn.entropy[0], [entropy], rtol=1e-5)
    np.testing.assert_allclose(-drawn.log_prob.mean(), entropy, atol=0.02)
    np.testing.assert_allclose(spread(c, outputs)[0], [entropy / np.log(3)], rtol=1e-5)
    np.testing.assert_array_equal(mode(c, outputs)[0], [0, 1, 0])


def test_factors_are_independent() -> None:
    """log_prob, entropy and spread of a mixed space from those of its parts."""
    c = codec("mixed")
    outputs = jax.random.normal(jax.random.key(2), (7, c.outputs))
    whole = sample(c, outputs, jax.random.key(3))
    of_choices, entropy, decided = 0.0, [], []
    columns = [outputs[:, :4], *jnp.split(outputs[:, 4:], [3, 5, 7, 9, 11], axis=1)]
    flats = [whole.flat[:, :2], *jnp.split(whole.flat[:, 2:], [3, 5, 7, 9, 11], axis=1)]
    for x, flat in zip(columns[1:], flats[1:], strict=True):
        part = ActionCodec(spaces.Discrete(x.shape[1]))
        probs = 0.99 * jax.nn.softmax(x) + 0.01 / x.shape[1]
        of_choices += jnp.log(jnp.sum(probs * flat, -1))
        entropy.append(-jnp.sum(probs * jnp.log(probs), -1))
        decided.append(spread(part, x)[:, 0])
    std = 0.1 + 0.9 * jax.nn.sigmoid(columns[0][:, 2:])
    box = ActionCodec(spaces.Box(-1, 1, (2,)))
    entropy.insert(0, jnp.sum(jnp.log(std) + 0.5 * np.log(2 * np.pi * np.e), -1))
    decided.insert(0, spread(box, columns[0])[:, 0])
    np.testing.assert_allclose(whole.entropy, jnp.stack(entropy, -1), rtol=1e-4)
    np.testing.assert_allclose(spread(c, outputs), jnp.stack(decided, -1), rtol=1e-4)
    np.testing.assert_allclose(whole.log_prob, of_choices, rtol=1e-4)
    score = (whole.flat[:, :2] - jnp.tanh(columns[0][:, :2])) / std
    of_box = jnp.sum(-0.5 * score**2 - jnp.log(std) - 0.5 * np.log(2 * np.pi), -1)
    np.testing.assert_allclose(log_prob(c, outputs, whole.flat), of_choices + of_box, rtol=1e-4)


def test_spread_ends_at_0_and_1(monkeypatch: pytest.MonkeyPatch) -> None:
    c = ActionCodec(spaces.Tuple((spaces.Box(-1, 1, (1,)), spaces.Discrete(4))))
    assert spread(c, jnp.array([0.0, 30.0, 0, 0, 0, 0])) == pytest.approx([1, 1], abs=1e-5)
    monkeypatch.setattr("agents.actions.UNIMIX", 1e-6)
    assert spread(ActionCodec(c.space), jnp.array([0.0, -30.0, 40, 0, 0, 0])) == pytest.approx(
        [0, 0], abs=1e-4
    )


def test_each_part_is_trained_one_way() -> None:
    """Continuous through the sample, discrete by the score function, none both ways."""
    c = ActionCodec(spaces.Tuple((spaces.Box(-1, 1, (2,)), spaces.Discrete(3))))
    outputs, weights = jnp.array([0.1, -0.2, -2.0, -2.0, 0.3, 0.0, -0.5]), jnp.arange(1.0, 6.0)

    def reach(read: Any) -> tuple[bool, bool]:
        def total(x: jax.Array) -> jax.Array:
            return read(sample(c, x, jax.random.key(0)))

        grad = jax.jit(jax.grad(total))(outputs)
        moved = np.asarray(grad) != 0
        assert moved[:4].all() or not moved[:4].any()
        assert moved[4:].all() or not moved[4:].any()
        return bool(moved[0]), bool(moved[4])

    def flat(drawn: ActionSample) -> jax.Array:
        return jnp.sum(drawn.flat * weights)

    assert reach(flat) == (True, False)
    assert reach(lambda drawn: drawn.log_prob) == (False, True)


def test_chunk_of_one_is_the_primitive() -> None:
    c = codec("mixed")
    chunk, key = ChunkCodec(c, 1, False), jax.random.key(0)
    outputs = jax.random.normal(jax.random.key(1), (5, c.outputs))
    assert (chunk.width, chunk.outputs) == (c.width, c.outputs)
    ours = sample_chunk(chunk, outputs, jax.random.clone(key))
    jax.tree.map(np.testing.assert_array_equal, ours, sample(c, outputs, key))
    np.testing.assert_array_equal(mode(chunk, outputs), mode(c, outputs))
    np.testing.assert_array_equal(spread(chunk, outputs), spread(c, outputs))


def test_chunk_is_its_primitives() -> None:
    c, k = codec("mixed"), 4
    chunk = ChunkCodec(c, k, False)
    outputs = jax.random.normal(jax.random.key(1), (5, chunk.outputs))
    parts = outputs.reshape(5, k, c.outputs)
    drawn = sample_chunk(chunk, outputs, jax.random.key(0))
    assert drawn.flat.shape == (5, chunk.width)
    alone = [sample(c, parts[:, i], jax.random.key(9)).entropy for i in range(k)]
    np.testing.assert_allclose(drawn.entropy, jnp.concatenate(alone, -1), rtol=1e-5)
    np.testing.assert_allclose(mode(chunk, outputs), mode(c, parts).reshape(5, -1), rtol=1e-6)
    np.testing.assert_allclose(spread(chunk, outputs), spread(c, parts).reshape(5, -1), rtol=1e-5)


def test_slots_are_in_the_order_of_the_models_window() -> None:
    """The chunk that is executed slot by slot is the window that the model is trained on."""
    c, k = ActionCodec(spaces.Box(-1, 1, (2,))), 4
    chunk = jnp.arange(float(k * c.width))
    executed = jax.jit(ChunkCodec(c, k, False).slots)(chunk)  # [K, A], first executed first
    arrivals = jnp.concatenate([jnp.zeros((1, 2)), executed])  # a_0 = 0, then a_1 … a_K
    window = jax.jit(clock.window_stack, static_argnums=2)(arrivals, jnp.zeros(k + 1, int), k)[k]
    np.testing.assert_array_equal(window, chunk)


def test_a_marked_plan_begins_once() -> None:
    """Two floats of the codec and 1, 0, 0, 0 after them, whichever way the plan is made."""
    c, k = ActionCodec(spaces.Box(-1, 1, (2,))), 4
    plain, marked = ChunkCodec(c, k, False), ChunkCodec(c, k, True)
    assert (marked.width, marked.outputs) == (12, plain.outputs)
    outputs = jax.random.normal(jax.random.key(1), (5, plain.outputs))
    normal, features = jax.random.normal(jax.random.key(2), (k, 5, 2)), jnp.zeros((5, 1))

    def plans(chunk: ChunkCodec) -> list[jax.Array]:
        drawn = chunk.sample(outputs, features, jax.random.key(0)).flat
        plan = chunk.plan(outputs, features, None)
        done = [chunk.react(plan, features, jnp.full(5, step), normal[step]) for step in range(k)]
        whole = [chunk.slots(x) for x in (drawn, chunk.mode(outputs), chunk.hold(normal[0]))]
        return [*whole, jnp.stack(done, 1)]

    for got, expected in zip(*jax.jit(lambda: (plans(marked), plans(plain)))(), strict=True):
        np.testing.assert_array_equal(got[..., :2], expected)
        np.testing.assert_array_equal(got[..., 2], np.broadcast_to([1, 0, 0, 0], (5, 4)))
    held = jax.jit(marked.join)(jnp.full((1, k, 2), 0.5))
    assert held[0].tolist() == [0.5, 0.5, 1, 0.5, 0.5, 0, 0.5, 0.5, 0, 0.5, 0.5, 0]


def test_act_by_normal_numbers() -> None:
    """A Box takes mean + std n, clipped; a choice is drawn with its probabilities."""
    codec = ActionCodec(spaces.Tuple((spaces.Box(-1, 1, (1,)), spaces.Discrete(3))))
    outputs, n = jnp.array([0.3, -1.0, 0.5, -0.4, 1.2]), 100_000
    normal = jax.random.normal(jax.random.key(0), (n, 4))
    flat = np.asarray(jax.jit(codec.act)(jnp.broadcast_to(outputs, (n, 5)), normal))
    by_hand = np.tanh(0.3) + (0.1 + 0.9 / (1 + np.e)) * np.asarray(normal[:, 0])
    np.testing.assert_allclose(flat[:, 0], np.clip(by_hand, -1, 1), atol=1e-6)
    logits = np.exp([0.5, -0.4, 1.2])
    expected = 0.99 * logits / logits.sum() + 0.01 / 3
    np.testing.assert_allclose(flat[:, 1:].mean(0), expected, atol=0.005)
    assert np.isfinite(codec.act(outputs, jnp.full(4, -9.0))).all()


def test_the_remedy_for_an_unbounded_box_works() -> None:
    space = spaces.Box(-np.inf, np.inf, (2,))
    with pytest.raises(UserError) as error:
        ActionCodec(space)
    env = gymnasium.Env()
    env.action_space = space
    remedy = str(error.value).partition("made wrapped: ")[2]
    assert ActionCodec(eval(remedy, {"gymnasium": gymnasium, "env": env}).action_space).width == 2
