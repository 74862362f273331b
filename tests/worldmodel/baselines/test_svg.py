"""SVG-LP by a plain loop; frames fed back, skips from the frames they are to be from; its size."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.models import drawn
from flax import nnx

from configs.video_presets import parse_pretrain, resolve_video
from worldmodel import ClockworkConfig
from worldmodel.baselines.dcgan import SkipDecoder, SkipEncoder
from worldmodel.baselines.svg import SVG, Recurrent, SVGConfig
from worldmodel.learner import split
from worldmodel.records import video
from worldmodel.video_model import open_loop

B, T, SHAPE = 2, 5, (32, 32, 1)
CONFIG = ClockworkConfig(
    strides=(1,), window="lookahead", deter=6, stoch=3, conv_depth=1, min_std=1e-4, image_std=0.3
)


@pytest.fixture(scope="module")
def model() -> SVG:
    make = lambda: SVG(CONFIG, SVGConfig(past=3), {"image": SHAPE}, nnx.Rngs(0))  # noqa: E731
    return drawn(make, 0.1)


@pytest.fixture(scope="module")
def records() -> Any:
    frames = np.random.default_rng(0).integers(0, 256, (B, T, *SHAPE), dtype=np.uint8)
    return video({"image": jnp.asarray(frames)})


@pytest.fixture(scope="module")
def observe(model: SVG) -> Any:
    """(records, blind) to beliefs and last state; the same noise every time."""

    def run(records: Any, blind: tuple[int, ...]) -> Any:
        return model.observe(records, model.latent.noise(jax.random.key(1), (B, T)), blind)

    return jax.jit(run, static_argnums=1)


def test_every_frame_by_a_plain_loop(model: SVG, records: Any, observe: Any) -> None:
    """From the one before and its own latent, by the maps of frames 0, 1, 2, 2."""
    got, last = observe(records, ())

    @jax.jit
    def loop(frames: Any) -> Any:
        noise = model.latent.noise(jax.random.key(1), (B, T))
        prior_cells, post_cells = model.prior.initial(B), model.posterior.initial(B)
        cells, out = model.draws.initial(B), []
        for t in range(1, T):
            before, _ = model.encoder(frames[:, t - 1])
            now, _ = model.encoder(frames[:, t])
            prior, prior_cells = model.prior(before, prior_cells)
            post, post_cells = model.posterior(now, post_cells)
            z = model.latent.sample(model.stats(post), noise[:, t])
            drawn_code, cells = model.draws(jnp.concatenate([before, z], -1), cells)
            _, maps = model.encoder(frames[:, min(t - 1, 2)])
            mean = model.decoder(jnp.tanh(drawn_code), maps)
            out.append((mean, model.stats(prior), model.stats(post)))
        return jax.tree.map(lambda *x: jnp.stack(x, 1), *out), prior_cells, cells

    (means, prior, post), prior_cells, cells = loop(records.obs["image"] / 255)
    found = (got.frames, got.prior, got.post, last.prior, last.draws)
    want = (means, prior, post, prior_cells, cells)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_next_frame_is_drawn_as_those_seen_are(model: SVG, records: Any) -> None:
    """A context of 1 frame and no latent yet: the first frame predicted is that which is drawn of a
    second one whose latent is its prior's. Then frames are fed back, and nothing later is seen."""
    roll_key = jax.random.split(jax.random.key(0))[1]
    noise = model.latent.noise(roll_key, (B, 3))

    @jax.jit
    def run(records: Any, key: Any) -> Any:
        return open_loop(model, records, 1, 3, key)[1]

    rolled = run(records, jax.random.key(0))
    seen = jax.tree.map(lambda x: x[:, :2], records)
    padded = jnp.pad(noise[:, :1], [(0, 0), (1, 0), (0, 0)])
    twin = jax.jit(lambda r: model.observe(r, padded, (0,))[0].frames)(seen)
    assert rolled.features.shape == (B, 3, *SHAPE) and (rolled.ticks == 1).all()
    np.testing.assert_allclose(rolled.features[:, 0], twin[:, 0], rtol=1e-4, atol=1e-5)

    def moved(time: int) -> Any:
        frames = records.obs["image"]
        changed = frames.at[:, time].set(255 - frames[:, time])
        return run(records._replace(obs={"image": changed}), jax.random.key(0)).features

    np.testing.assert_array_equal(moved(1), rolled.features)
    assert not np.allclose(moved(0), rolled.features)


def test_which_frames_are_seen(model: SVG, records: Any, observe: Any) -> None:
    """By the prior those before; by the latent, and the maps, the frame itself and frame 2."""
    before, _ = observe(records, ())

    def changed(time: int) -> Any:
        frames = records.obs["image"]
        moved = frames.at[:, time].set(255 - frames[:, time])
        after, _ = observe(records._replace(obs={"image": moved}), ())
        return jax.tree.map(
            lambda a, b: (np.abs(a - b).reshape(B, T - 1, -1).max((0, 2)) > 1e-6).tolist(),
            after,
            before,
        )

    third = changed(3)
    assert third.prior["mean"] == [False, False, False, True]
    assert third.post["mean"] == third.frames == [False, False, True, True]
    assert changed(2).frames == [False, True, True, True]


def test_the_loss_is_of_a_normal_and_kl(model: SVG, records: Any, observe: Any) -> None:
    """Per frame but the first; a latent left blind costs nothing."""
    run = jax.jit(lambda key: (model.loss(records, key), model.kl(records, jax.random.clone(key))))
    (loss, metrics), kl = run(jax.random.key(1))
    beliefs, _ = observe(records, ())
    true = np.asarray(records.obs["image"][:, 1:], float) / 255
    error = ((true - np.asarray(beliefs.frames, float)) / 0.3) ** 2
    nll = 0.5 * error.sum() / (B * (T - 1)) + 1024 * np.log(0.3 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(metrics["nll/image"], nll, rtol=1e-4)
    nats = model.latent.kl(beliefs.post, beliefs.prior)
    np.testing.assert_allclose(kl[:, 0], nats.sum(1), rtol=1e-4)
    np.testing.assert_allclose(loss, nll + float(nats.mean()), rtol=1e-4)
    blind, _ = observe(records, (0,))
    assert (model.latent.kl(blind.post, blind.prior) == 0).all()


def test_lstms_by_their_equations() -> None:
    layer = drawn(lambda: Recurrent(2, 3, 1, 2, jnp.float32, nnx.Rngs(0)), 0.3)
    x = np.random.default_rng(0).normal(size=(1, 4, 2))
    got, _ = layer.all(jnp.asarray(x, jnp.float32))

    def affine(linear: Any, v: np.ndarray) -> np.ndarray:
        return v @ np.asarray(linear.kernel[...], float) + np.asarray(linear.bias[...], float)

    def sigmoid(v: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-v))

    cells = [(np.zeros(3), np.zeros(3)) for _ in range(2)]
    for t in range(4):
        v = affine(layer.embed, x[0, t])
        for n, (h, c) in enumerate(cells):
            i, f, g, o = np.split(affine(layer.inputs[n], v) + affine(layer.recurrent[n], h), 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            v = sigmoid(o) * np.tanh(c)
            cells[n] = (v, c)
        np.testing.assert_allclose(got[0, t], affine(layer.output, v), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [32, 48, 64])
def test_maps_lead_back_to_an_image(size: int) -> None:
    def both(x: Any) -> Any:
        parts = (size, 3, 2, 5, jnp.float32, nnx.Rngs(0))
        code, maps = SkipEncoder(*parts)(x)
        return code, maps, SkipDecoder(*parts)(code, maps)

    code, maps, image = jax.eval_shape(both, jnp.zeros((2, size, size, 3)))
    assert code.shape == (2, 5) and image.shape == (2, size, size, 3)
    assert [m.shape[1] for m in maps] == [size // 2 ** (n + 1) for n in range(len(maps))]
    assert [m.shape[3] for m in maps] == [2, 4, 8, 16][: len(maps)]


def test_its_size_is_that_of_the_paper() -> None:
    """CW-VAE Table D.2 gives SVG 13 million parameters."""
    config = resolve_video("svg", "moving_digits", "minerl", "paper", True, "float32")
    shapes = {"image": (64, 64, 3)}
    model = nnx.eval_shape(lambda: SVG(config.model, config.svg, shapes, nnx.Rngs(0)))
    count = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(split(model)[1]))
    assert 12.5e6 < count < 13.5e6
    assert (config.optimizer.lr, config.svg.past, config.svg.layers) == (2e-3, 5, 2)


def test_what_is_no_single_image_is_refused() -> None:
    for shapes in ({"x": (3,)}, {"a": SHAPE, "b": SHAPE}):
        with pytest.raises(ValueError, match="svg: expected one image, received"):
            SVG(CONFIG, SVGConfig(), shapes, nnx.Rngs(0))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--strides", "1,6"), r"model.strides: expected \(1,\) of svg, received \(1, 6\)"),
        (("--svg.past", "0"), "svg.past: expected 1 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(flags: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        parse_pretrain(["--preset", "svg", "--data", "moving_digits", *flags], False, "float32")
    assert "\n" not in str(error.value)
