"""LMC-Memory by plain loops and by hand; which frames are seen, which parts an update moves."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.models import drawn
from flax import nnx

from configs.video_presets import parse_pretrain, resolve_video
from worldmodel import ClockworkConfig
from worldmodel.baselines.lmc import LMC, ConvLSTM, LMCConfig, Motion, like
from worldmodel.learner import split
from worldmodel.records import video
from worldmodel.video_model import Clips, open_loop

B, T, SHAPE, SHORT = 2, 13, (32, 32, 1), 9
CONFIG = ClockworkConfig(strides=(1,), window="lookahead", conv_depth=1, image_std=0.3)
SETTINGS = LMCConfig(short=SHORT, long=11, slots=5, early=3)


@pytest.fixture(scope="module")
def model() -> LMC:
    make = lambda: LMC(CONFIG, SETTINGS, {"image": SHAPE}, nnx.Rngs(0))  # noqa: E731
    return drawn(make, 0.2)


@pytest.fixture(scope="module")
def records() -> Any:
    frames = np.random.default_rng(0).integers(0, 256, (B, T, *SHAPE), dtype=np.uint8)
    return video({"image": jnp.asarray(frames)})


@pytest.fixture(scope="module")
def run(model: LMC) -> Any:
    """A context of 9 frames and 4 more, predicted."""
    return jax.jit(lambda records: open_loop(model, records, SHORT, T - SHORT, jax.random.key(0)))


def test_frames_by_a_plain_loop(model: LMC, records: Any, run: Any) -> None:
    """Seen frames are read, then those drawn; each is drawn from the one before."""
    filtered, rolled = run(records)

    @jax.jit
    def loop(frames: Any) -> Any:
        recalled = model.recall(model.matching(frames[:, :SHORT]), model.memory[...])
        h = [jnp.zeros((B, 8, 8, 4)) for _ in model.lstms]
        c, drawn_frames = list(h), []
        for t in range(T - 1):
            x = model.encode(frames[:, t] if t < SHORT else drawn_frames[-1])
            for n, lstm in enumerate(model.lstms):
                h[n], c[n] = lstm(x, h[n], c[n])
                x = h[n]
            drawn_frames.append(model.draw(h[-1], c[-1], recalled))
        return jnp.stack(drawn_frames, 1)

    want = loop(records.obs["image"] / 255)
    got = jnp.concatenate([filtered.features, rolled.features], axis=1)
    assert want.std() > 0.01
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_nothing_later_is_seen(model: LMC, records: Any, run: Any) -> None:
    def moved(time: int) -> Any:
        frames = records.obs["image"]
        changed = frames.at[:, time].set(255 - frames[:, time])
        return run(records._replace(obs={"image": changed}))[1].features

    before = run(records)[1].features
    np.testing.assert_array_equal(moved(SHORT), before)
    assert not np.allclose(moved(SHORT - 1), before) and not np.allclose(moved(0), before)


def test_a_short_context_stands_still_before_it(model: LMC, records: Any) -> None:
    seen = records.obs["image"][:, :3] / 255
    longer = jnp.concatenate([jnp.repeat(seen[:, :1], SHORT - 3, axis=1), seen], axis=1)
    got, want = jax.jit(lambda a, b: (model.recognise(a), model.recognise(b)))(seen, longer)
    np.testing.assert_array_equal(got, want)
    one = jax.tree.map(lambda x: x[:, :1], records)
    filtered = jax.eval_shape(lambda r: model.filter(r, jax.random.key(0)), one)
    assert filtered.features.shape == (B, 0, *SHAPE)


def test_what_is_like_a_motion_by_hand() -> None:
    memory = np.random.default_rng(0).normal(size=(4, 3))
    query = np.random.default_rng(1).normal(size=(2, 3))
    near = query @ memory.T / np.outer(*(np.linalg.norm(x, axis=1) for x in (query, memory)))
    weight = np.exp(near) / np.exp(near).sum(1, keepdims=True)
    got = like(jnp.asarray(query, jnp.float32), jnp.asarray(memory, jnp.float32))
    np.testing.assert_allclose(got, weight @ memory, rtol=1e-5)
    nothing = like(jnp.zeros((1, 3)), jnp.asarray(memory, jnp.float32))
    np.testing.assert_allclose(nothing[0], memory.mean(0), rtol=1e-5)


def test_lstms_on_maps_by_their_equations() -> None:
    """Of one place with nothing about it: that of a vector, by the kernels' middles."""
    lstm = drawn(lambda: ConvLSTM(2, jnp.float32, nnx.Rngs(0)), 0.5)
    x, h, c = np.random.default_rng(0).normal(size=(3, 1, 1, 1, 2))

    def affine(layer: Any, v: np.ndarray) -> np.ndarray:
        kernel = np.asarray(layer.kernel[...], float)[1, 1]
        return v[0, 0, 0] @ kernel + np.asarray(layer.bias[...], float)

    def sigmoid(v: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-v))

    i, g, f, o = np.split(affine(lstm.inputs, x) + affine(lstm.recurrent, h), 4)
    cell = sigmoid(f) * c[0, 0, 0] + sigmoid(i) * np.tanh(g)
    got_h, got_c = lstm(*(jnp.asarray(v, jnp.float32) for v in (x, h, c)))
    np.testing.assert_allclose(got_c[0, 0, 0], cell, rtol=1e-5)
    np.testing.assert_allclose(got_h[0, 0, 0], sigmoid(o) * np.tanh(cell), rtol=1e-5)


def test_what_stands_still_is_no_motion() -> None:
    motion = drawn(lambda: Motion(1, 2, jnp.float32, nnx.Rngs(0)), 0.2)
    grey, white = (jnp.full((1, 10, 32, 32, 1), level) for level in (0.5, 1.0))
    moving = grey.at[:, 5:].set(0.0)
    a, b, c = (motion(x) for x in (grey, white, moving))
    assert a.shape == (1, 2, 2, 16)
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)


def test_what_an_update_moves(model: LMC, records: Any) -> None:
    """Long stretches train their own encoder and the memory, short ones the other. In the first
    updates 10 frames count and the stretch is the first one; here all 4 do, later as well."""
    graph, params = split(model)
    clips = Clips(records, jnp.zeros(B, bool))

    def learned(params: Any) -> Any:
        model = nnx.merge(graph, nnx.State(params))
        _, (count, metrics) = model.learn(clips, jnp.zeros(()), jax.random.key(0))
        losses = jnp.stack([metrics["loss/model"], metrics["nll/by_long"]])
        return losses, (losses, count)

    gradients, (losses, count) = jax.jit(jax.jacrev(learned, has_aux=True))(params)

    def moves(which: int) -> dict[str, bool]:
        parts = ("matching", "context", "memory", "lstms", "decoder", "embedder")
        return {
            p: any(np.abs(x[which]).max() > 0 for x in jax.tree.leaves(gradients[p])) for p in parts
        }

    both = {"lstms": True, "decoder": True, "embedder": True}
    assert moves(0) == {"matching": True, "context": False, "memory": False} | both
    assert moves(1) == {"matching": False, "context": True, "memory": True} | both
    assert count == 1
    loss, _ = jax.jit(model.loss)(records, jax.random.key(1))
    np.testing.assert_allclose(losses[0], loss, rtol=1e-5)


def test_the_loss_is_of_a_normal(model: LMC, records: Any, run: Any) -> None:
    """Of the frames after the first 9, none of which is seen; the mask leaves the last two out."""
    mask = records.mask.at[:, -2:].set(0.0)
    loss, metrics = jax.jit(model.loss)(records._replace(mask=mask), jax.random.key(1))
    true = np.asarray(records.obs["image"][:, SHORT:-2], float) / 255
    error = ((true - np.asarray(run(records)[1].features[:, :-2], float)) / 0.3) ** 2
    nll = 0.5 * error.sum() / (B * (T - SHORT - 2)) + 1024 * np.log(0.3 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(loss, nll, rtol=1e-4)
    np.testing.assert_allclose(metrics["loss/model"], nll, rtol=1e-4)


def test_in_the_first_updates_ten_frames_count() -> None:
    """Of a sequence of 24 with 9 seen: 19 and later counts from update 3 on."""
    model = drawn(lambda: LMC(CONFIG, SETTINGS, {"image": SHAPE}, nnx.Rngs(0)), 0.2)
    frames = np.random.default_rng(0).integers(0, 256, (1, 24, *SHAPE), dtype=np.uint8)

    @jax.jit
    def loss(frames: Any, updates: Any) -> Any:
        clips = Clips(video({"image": frames}), jnp.zeros(1, bool))
        return model.learn(clips, updates, jax.random.key(0))[1][1]["loss/model"]

    late = frames.copy()
    late[:, SHORT + 10 :] = 255 - late[:, SHORT + 10 :]
    early = [loss(x, jnp.asarray(2.0)) for x in (frames, late)]
    after = [loss(x, jnp.asarray(3.0)) for x in (frames, late)]
    assert early[0] == early[1] and after[0] != after[1]


def test_the_long_stretch_of_the_first_updates_is_the_first_one() -> None:
    """Whatever the key: what comes after the 10 frames that count changes nothing."""
    model = drawn(lambda: LMC(CONFIG, SETTINGS, {"image": SHAPE}, nnx.Rngs(0)), 0.2)
    frames = np.random.default_rng(0).integers(0, 256, (1, 24, *SHAPE), dtype=np.uint8)

    @jax.jit
    def by_long(frames: Any, key: Any) -> Any:
        clips = Clips(video({"image": frames}), jnp.zeros(1, bool))
        return model.learn(clips, jnp.zeros(()), key)[1][1]["nll/by_long"]

    late = frames.copy()
    late[:, SHORT + 10 :] = 255 - late[:, SHORT + 10 :]
    for seed in range(6):
        assert by_long(frames, jax.random.key(seed)) == by_long(late, jax.random.key(seed))


def test_its_size_is_that_of_the_paper() -> None:
    """34 million parameters, by its code at 64×64; CW-VAE's tables have none of it."""
    config = resolve_video("lmc", "moving_digits", "moving_mnist", "paper", True, "float32")
    model = nnx.eval_shape(
        lambda: LMC(config.model, config.lmc, {"image": (64, 64, 1)}, nnx.Rngs(0))
    )
    count = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(split(model)[1]))
    assert 33.5e6 < count < 34.5e6
    assert (config.optimizer.lr, config.lmc) == (2e-4, LMCConfig(10, 30, 100, 5_000))


def test_what_cannot_be_is_refused(model: LMC, records: Any) -> None:
    with pytest.raises(ValueError, match="lmc: expected one image, received"):
        LMC(CONFIG, LMCConfig(), {"x": (3,)}, nnx.Rngs(0))
    few = jax.tree.map(lambda x: x[:, :SHORT], records)
    with pytest.raises(ValueError, match="length: expected more than the 9 frames"):
        model.loss(few, jax.random.key(0))
    flags = ["--preset", "lmc", "--data", "moving_digits", "--lmc.short", "8"]
    with pytest.raises(ValueError, match="lmc.short: expected 9 or more"):
        parse_pretrain(flags, False, "float32")
