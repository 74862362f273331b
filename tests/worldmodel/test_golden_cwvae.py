"""The original CW-VAE's numbers: a faithful preset with its weights gives its outputs.

`tests/golden/cwvae_original.npz` holds weights, input and outputs of the original TensorFlow code
(github.com/vaibhavsaxena11/cwvae, commit 62dd505, unmodified, float32, CPU) at a tiny size, every
sample replaced by its mean. To regenerate: run that commit at the sizes under the key `config`, and
save the arrays by the names used below.

Every array must agree to 1e-4 of its largest value. What differs in form, not in numbers: the
original's features are [z, h], ours [h, z]; its transposed kernels are (height, width, out, in).
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from configs.video_presets import OPTIMIZER, ORIGINAL
from worldmodel import (
    Belief,
    ClockworkVAE,
    ObjectiveConfig,
    Records,
    State,
    make_optimizer,
    model_loss,
)
from worldmodel.learner import Params, join, split
from worldmodel.records import video

PATH = Path(__file__).parents[1] / "golden" / "cwvae_original.npz"
TOLERANCE = 1e-4  # of each array's largest value
CONTEXT, LENGTH, Z = 4, 10, 5
FAITHFUL = replace(  # the presets' own architecture, at the file's tiny sizes
    ORIGINAL,
    strides=(1, 2, 4),
    stoch=Z,
    deter=12,
    hidden=14,
    embed=16,
    conv_depth=4,
    image_std=0.4,
)


class Weights:
    """The original's parameters as ours."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays

    def layer(self, name: str) -> Params:
        """Kernel and bias of a dense layer or a convolution."""
        return {part: self.arrays[f"param/{name}/{part}"] for part in ("kernel", "bias")}

    def dense(self, name: str) -> Params:
        return {"linear": self.layer(name)}

    def encoder(self) -> Params:
        convs = {n: self.layer(f"encoder/h{n + 1}_conv") for n in range(4)}
        return {"parts": {"video": {"layers": convs}}}

    def level_embed(self, first: int) -> Params:
        hidden = {n: self.dense(f"encoder/h{first + n}_dense") for n in range(2)}
        return {"hidden": hidden, "output": self.layer(f"encoder/h{first + 2}_dense")}

    def decoder(self) -> Params:
        dense = self.layer("decoder/h1")
        layers = {}
        for n, name in enumerate(("h2", "h3", "h4", "out")):
            layer = self.layer(f"decoder/{name}")
            layers[n] = {**layer, "kernel": layer["kernel"].swapaxes(2, 3)}
        dense = {**dense, "kernel": h_before_z(dense["kernel"])}
        return {"parts": {"video": {"dense": dense, "layers": layers}}}

    def level(self, cell: int) -> Params:
        name = f"cell_{cell}"
        joint = self.layer(f"{name}/prior_h1_dense")  # of [z, context]
        kernel, recurrent, bias = (
            self.arrays[f"param/{name}/gru/{part}"]
            for part in ("kernel", "recurrent_kernel", "bias")
        )
        first = self.layer(f"{name}/posterior_h1_dense")  # of [h, e]
        return {
            "input": {"linear": {"kernel": joint["kernel"][:Z], "bias": joint["bias"]}},
            "gru": {
                "input": {"kernel": kernel, "bias": bias[0]},
                "recurrent": {"kernel": recurrent, "bias": bias[1]},
            },
            "prior_hidden": self.dense(f"{name}/prior_h2_dense"),
            "prior_out": self.stats(f"{name}/prior"),
            "post_hidden": {"linear": {**first, "kernel": first["kernel"][:12]}},
            "post_embed": {"kernel": first["kernel"][12:]},
            "post_more": {0: self.dense(f"{name}/posterior_h2_dense")},
            "post_out": self.stats(f"{name}/posterior"),
            "context": {"kernel": h_before_z(joint["kernel"][Z:])},  # the top's is of zeros
        }

    def stats(self, name: str) -> Params:
        return {
            "layers": {n: self.layer(f"{name}_{x}_dense") for n, x in enumerate(("mean", "stddev"))}
        }

    def params(self) -> Params:
        return {
            "encoder": self.encoder(),
            "level_embeds": {0: self.level_embed(5), 1: self.level_embed(8)},
            "levels": {cell: self.level(cell) for cell in range(3)},
            "decoder": self.decoder(),
        }


def h_before_z(kernel: np.ndarray) -> np.ndarray:
    """Rows of [z, h] as rows of [h, z]."""
    return np.concatenate([kernel[Z:], kernel[:Z]])


class Ours(NamedTuple):
    """What our classes give."""

    embeds: list[jax.Array]
    beliefs: tuple[Belief, ...]
    kl: list[jax.Array]
    recon: jax.Array
    loss: jax.Array
    metrics: dict[str, jax.Array]
    grad_norm: jax.Array
    stepped: Params
    by_keras: Params
    open_loop: jax.Array


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(PATH, allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def ours(golden: dict[str, np.ndarray]) -> Ours:
    shapes = {"video": (64, 64, 3)}
    graph, blank = split(nnx.eval_shape(lambda: ClockworkVAE(FAITHFUL, shapes, 0, nnx.Rngs(0))))
    params = jax.tree.map(jnp.asarray, Weights(golden).params())
    same = jax.tree.map(lambda a, b: a.shape == b.shape, blank, params)  # and the same structure
    assert all(jax.tree.leaves(same)), same
    records = video({"video": jnp.asarray(golden["obs_uint8"])})
    loss_and_grads = jax.jit(
        jax.value_and_grad(lambda p: loss_of(join(graph, p), records), has_aux=True)
    )
    (loss, (beliefs, metrics)), grads = loss_and_grads(params)
    model = join(graph, params)
    return Ours(
        embeds=jax.jit(lambda m: [inputs.embed for inputs in m.tick_inputs(records)])(model),
        beliefs=beliefs,
        kl=[model.latent.kl(belief.post, belief.prior) for belief in beliefs],
        recon=jax.jit(lambda m, x: m.decode(x))(model, beliefs[0].state.features)["video"],
        loss=loss,
        metrics=metrics,
        grad_norm=optax.tree.norm(grads),
        stepped=step(params, grads),
        by_keras=jax.tree.map(
            partial(keras_step, scale=1e4 / optax.tree.norm(grads)), params, grads
        ),
        open_loop=jax.jit(open_loop)(model, records),
    )


@jax.jit
def step(params: Params, grads: Params) -> Params:
    """The presets' optimizer, once."""
    optimizer = make_optimizer(OPTIMIZER)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    return optax.apply_updates(params, updates)


def keras_step(param: jax.Array, grad: jax.Array, scale: jax.Array) -> np.ndarray:
    """Keras's first step, of a gradient clipped to ``scale``: lr √(1-β₂)/(1-β₁) m / (√v + eps)."""
    g = np.asarray(grad, np.float64) * float(scale)
    m, v = (1 - 0.9) * g, (1 - 0.999) * g**2
    change = 3e-4 * np.sqrt(1 - 0.999) / (1 - 0.9) * m / (np.sqrt(v) + 1e-4)
    return np.asarray(param, np.float64) - change


def means(model: ClockworkVAE, shape: tuple[int, int]) -> tuple[jax.Array, ...]:
    """Noise that makes every sample its mean."""
    return jax.tree.map(jnp.zeros_like, model.draw_noise(jax.random.key(0), *shape))


def loss_of(model: ClockworkVAE, records: Records) -> Any:
    beliefs = model.observe(records, means(model, (2, LENGTH)))
    loss, metrics = model_loss(model, records, beliefs, ObjectiveConfig(kl="elbo"))
    return loss, (beliefs, metrics)


def open_loop(model: ClockworkVAE, records: Records) -> jax.Array:
    """Posteriors over the context, then priors; two whole top windows, of which 6 steps count."""
    context = jax.tree.map(lambda x: x[:, :CONTEXT], records)
    beliefs = model.observe(context, means(model, (2, CONTEXT)))
    states: tuple[State, ...] = model.states_at(beliefs, CONTEXT)
    actions, known = jnp.zeros((2, 8, 0)), jnp.zeros((2, 8))
    imagined = model.imagine(states, actions, known, means(model, (2, 8)))
    return model.decode(imagined[0].features[:, : LENGTH - CONTEXT])["video"]


def agree(actual: jax.Array, expected: np.ndarray) -> None:
    atol = TOLERANCE * float(np.abs(expected).max())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("level", range(3))
def test_embeddings_and_beliefs(golden: dict[str, np.ndarray], ours: Ours, level: int) -> None:
    """T = 10 is no multiple of 4: 10, 5 and 3 ticks, the last window of the top cut short."""
    agree(ours.embeds[level], golden[f"enc_level{level}"])
    belief = ours.beliefs[level]
    for name, stats in (("prior", belief.prior), ("post", belief.post)):
        agree(stats["mean"], golden[f"{name}_mean_level{level}"])
        agree(stats["std"], golden[f"{name}_stddev_level{level}"])
        agree(stats["mean"], golden[f"{name}_sample_level{level}"])
        agree(belief.state.h, golden[f"{name}_det_out_level{level}"])
    agree(belief.state.z, golden[f"post_sample_level{level}"])
    agree(ours.kl[level], golden[f"kl_level{level}"])


def test_reconstruction(golden: dict[str, np.ndarray], ours: Ours) -> None:
    agree(ours.recon[:, :, ::4, ::4], golden["recon"])


def test_loss_and_gradient(golden: dict[str, np.ndarray], ours: Ours) -> None:
    agree(ours.loss, golden["loss"])
    agree(ours.metrics["nll/video"], golden["nll_per_frame"])
    agree(ours.loss - ours.metrics["nll/video"], golden["kl_per_frame"])
    agree(ours.grad_norm, golden["grad_norm"])


def test_one_step_of_the_optimizer(golden: dict[str, np.ndarray], ours: Ours) -> None:
    """Of every array, to a thousandth of a step; the gradient's norm is twice the clip."""
    assert golden["grad_norm"] > 2 * OPTIMIZER.clip
    off = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), ours.stepped, ours.by_keras)
    assert max(jax.tree.leaves(off)) < 3e-4 * 1e-3, off


def test_open_loop(golden: dict[str, np.ndarray], ours: Ours) -> None:
    agree(ours.open_loop[:, :, ::4, ::4], golden["openloop_prior_multistep"])
