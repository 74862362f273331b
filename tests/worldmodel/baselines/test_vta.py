"""VTA by plain loops, its limits and closed forms, who sees what, and its size."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.models import drawn
from flax import nnx

from configs.video_presets import parse_pretrain, resolve_video
from worldmodel import ClockworkConfig, OptimizerConfig
from worldmodel.baselines.halving import HalvingDecoder, HalvingEncoder, edges
from worldmodel.baselines.segments import (
    CERTAIN,
    COOLEST,
    VTAConfig,
    bernoulli_kl,
    held,
    straight_through,
    temperature,
)
from worldmodel.baselines.vta import VTA, Beliefs
from worldmodel.learner import initial_state, join, make_optimizer, make_update, split
from worldmodel.pretraining import initial_aux, make_loss
from worldmodel.records import video
from worldmodel.video_model import Clips, open_loop

B, T, X = 2, 8, 3
CONFIG = ClockworkConfig(
    strides=(1,), window="lookahead", deter=6, hidden=8, stoch=3, conv_depth=1, min_std=1e-4
)
BEGINS = np.array([[1, 0, 0, 1, 0, 1, 0, 0], [1, 1, 0, 0, 0, 0, 0, 1]], np.float32)


@pytest.fixture(scope="module")
def model() -> VTA:
    return drawn(lambda: VTA(CONFIG, VTAConfig(), {"x": (X,)}, nnx.Rngs(0)), 0.3)


@pytest.fixture(scope="module")
def records() -> Any:
    x = np.random.default_rng(0).normal(size=(B, T, X))
    return video({"x": jnp.asarray(x, jnp.float32)})


@pytest.fixture(scope="module")
def observe(model: VTA) -> Any:
    """(records, begins or None, blind) to beliefs and last state; the same noise every time."""

    @partial(jax.jit, static_argnums=2)
    def run(records: Any, begins: Any, blind: tuple[int, ...] = ()) -> Any:
        noise = model.draw_noise(jax.random.key(1), *records.mask.shape)
        return model.observe(records, noise, blind=blind, begins=begins)

    return run


def test_both_levels_by_a_plain_loop(model: VTA, records: Any, observe: Any) -> None:
    """Each posterior from the frames that it is of, gathered by hand, whatever the segments."""
    got, _ = observe(records, jnp.asarray(BEGINS))

    @jax.jit
    def loop(records: Any) -> Any:
        noise = model.draw_noise(jax.random.key(1), B, T)
        embed = model.encoder(model.units(records.obs))
        rows = []
        for b in range(B):
            one = partial(_row, model, embed[b : b + 1], BEGINS[b])
            rows.append(one(jax.tree.map(lambda x, n=b: x[n : n + 1], noise)))
        return jax.tree.map(lambda *x: jnp.concatenate(x), *rows)

    want = loop(records)
    found = (got.top.state, got.low.state, got.features, got.top.post, got.low.post)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def _row(model: VTA, embed: Any, begins: np.ndarray, noise: Any) -> Any:
    """One video, [1, T, ·], frame by frame and segment by segment."""
    starts = [*np.flatnonzero(begins), T]
    zero, out = jnp.zeros((1, CONFIG.deter)), []
    h, z, past = zero, jnp.zeros((1, CONFIG.stoch)), zero
    for start, stop in zip(starts, starts[1:], strict=False):
        ahead = zero
        for t in reversed(range(start, stop)):
            ahead = model.top_segment(embed[:, t], ahead)
        h = model.top_gru(z, h)
        top_post = model.post_top(jnp.concatenate([past, ahead], -1))
        z = top_post["mean"] + top_post["std"] * noise.top[:, start]
        above = model.top_features(jnp.concatenate([h, z], -1))
        g, code, s = above, zero, None
        for t in range(start, stop):
            g = g if s is None else model.low_gru(jnp.concatenate([s, above], -1), g)
            code = model.low_code(embed[:, t], code)
            low_post = model.post_low(jnp.concatenate([code, above], -1))
            s = low_post["mean"] + low_post["std"] * noise.low[:, t]
            features = model.low_features(jnp.concatenate([g, s], -1))
            out.append(((h, z), (g, s), features, low_post))
            past = model.top_past(embed[:, t], past)
    parts = [
        (top, low, features, top_post, low_post)
        for (top, low, features, low_post), top_post in zip(
            out, _posts(model, embed, starts), strict=True
        )
    ]
    return jax.tree.map(lambda *x: jnp.stack(x, 1), *parts)


def _posts(model: VTA, embed: Any, starts: list[int]) -> list[Any]:
    """q(z) were a segment to begin at each frame: from the frames before, and to the segment's
    end."""
    found, past = [], jnp.zeros((1, CONFIG.deter))
    for t in range(T):
        stop, ahead = min(x for x in starts if x > t), jnp.zeros((1, CONFIG.deter))
        for u in reversed(range(t, stop)):
            ahead = model.top_segment(embed[:, u], ahead)
        found.append(model.post_top(jnp.concatenate([past, ahead], -1)))
        past = model.top_past(embed[:, t], past)
    return found


def test_with_segments_of_fixed_length_it_is_a_clockwork(
    model: VTA, records: Any, observe: Any
) -> None:
    """Every K = 2 frames: the slower level is a chain of T/K ticks, the faster one of K frames is
    the same for all blocks, as rows of one batch that begin anew."""
    fixed = jnp.tile(jnp.array([1.0, 0.0]), (B, T // 2))
    got, _ = observe(records, fixed)

    @jax.jit
    def clockwork(records: Any, top: Any) -> Any:
        noise = model.draw_noise(jax.random.key(1), B, T)
        h, z, ticks = jnp.zeros((B, CONFIG.deter)), jnp.zeros((B, CONFIG.stoch)), []
        for j in range(T // 2):
            h = model.top_gru(z, h)
            post = jax.tree.map(lambda x, t=2 * j: x[:, t], top)
            z = model.latent.sample(post, noise.top[:, 2 * j])
            ticks.append(jnp.concatenate([h, z], -1))
        states = jnp.stack(ticks, 1)
        above = model.top_features(states).reshape(B * T // 2, -1)
        frames = model.encoder(model.units(records.obs)).reshape(B * T // 2, 2, -1)
        drawn_low = noise.low.reshape(B * T // 2, 2, -1)
        g, code, s, lows = above, jnp.zeros_like(above), None, []
        for i in range(2):
            g = g if s is None else model.low_gru(jnp.concatenate([s, above], -1), g)
            code = model.low_code(frames[:, i], code)
            post = model.post_low(jnp.concatenate([code, above], -1))
            s = model.latent.sample(post, drawn_low[:, i])
            lows.append(jnp.concatenate([g, s], -1))
        return states, jnp.stack(lows, 1).reshape(B, T, -1)

    states, lows = clockwork(records, got.top.post)
    np.testing.assert_allclose(got.top.state.features[:, ::2], states, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(
        got.top.state.features[:, ::2], got.top.state.features[:, 1::2]
    )  # held
    np.testing.assert_allclose(got.low.state.features, lows, rtol=1e-4, atol=1e-5)


def test_who_sees_which_frames(model: VTA, records: Any, observe: Any) -> None:
    """Whether a segment begins: 4 frames either way. The slower level: all before and the segment.
    The faster: the segment so far, and what the slower one has seen."""
    before, _ = observe(records, jnp.asarray(BEGINS))

    def changed(time: int) -> Beliefs:
        moved = records._replace(obs={"x": records.obs["x"].at[0, time].add(1.0)})
        after, _ = observe(moved, jnp.asarray(BEGINS))
        return jax.tree.map(
            lambda a, b: np.abs(a - b)[0].reshape(T, -1).max(1) > 1e-6, after, before
        )

    first, fourth = changed(0), changed(4)
    assert first.odds.tolist() == [True] * 5 + [False] * 3
    assert fourth.odds.all()
    assert fourth.top.state.z.tolist() == [False] * 3 + [True] * 5  # its segment is 3, 4
    assert fourth.low.post["mean"].tolist() == [False] * 3 + [True] * 5
    assert not changed(5).top.state.z[:5].any()


def test_a_level_left_blind_follows_its_prior(model: VTA, records: Any, observe: Any) -> None:
    other = records._replace(obs={"x": records.obs["x"][:, ::-1] + 1.0})
    for blind, level in (((0,), "low"), ((1,), "top")):
        beliefs, _ = observe(records, None, blind)
        belief = getattr(beliefs, level)
        assert (model.latent.kl(belief.post, belief.prior) == 0).all()
    unseen = [observe(x, None, (0, 1))[0] for x in (records, other)]
    np.testing.assert_array_equal(unseen[0].features, unseen[1].features)
    np.testing.assert_array_equal(unseen[0].begins[:, 0], 1.0)
    half = [observe(x, None, (0,))[0].features for x in (records, other)]
    assert not np.allclose(half[0], half[1])


def test_the_future_goes_on_from_the_context_alone(model: VTA, records: Any) -> None:
    """And the levels are those of its features: the slower is still where no segment begins."""
    run = jax.jit(lambda r: open_loop(model, r, 5, 6, jax.random.key(0))[1])
    rolled = run(records)

    def moved(time: int) -> Any:
        return run(records._replace(obs={"x": records.obs["x"].at[:, time].add(1.0)}))

    assert rolled.features.shape == (B, 6, 6)
    np.testing.assert_array_equal(moved(5).features, rolled.features)
    assert not np.allclose(moved(4).features, rolled.features)
    ticks, entropy = np.asarray(rolled.ticks), np.asarray(rolled.entropy)
    assert (ticks[..., 0] == 1).all() and set(np.unique(ticks[..., 1])) <= {0, 1}
    still = np.diff(entropy[..., 1], axis=1) == 0
    np.testing.assert_array_equal(still[ticks[:, 1:, 1] == 0], True)


def test_the_loss_is_the_sum_of_its_parts(model: VTA, records: Any) -> None:
    """Per frame; the slower level's KL counts where a segment begins."""

    @jax.jit
    def run(key: Any) -> Any:
        beliefs, _ = model.observe(records, model.draw_noise(key, B, T))
        return beliefs, model.nats(beliefs), model.loss(records, jax.random.clone(key))

    beliefs, (low, top, begins), (loss, metrics) = run(jax.random.key(3))
    hard = np.asarray(beliefs.begins)
    assert ((hard == 0) | (hard == 1)).all() and (hard[:, 0] == 1).all()
    assert (np.asarray(top)[hard == 0] == 0).all() and (np.asarray(begins)[:, 0] == 0).all()
    total = metrics["nll/x"] + (low + top + begins).sum() / (B * T)
    np.testing.assert_allclose(loss, total, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss/model"], loss)
    np.testing.assert_allclose(metrics["kl/level2"], top.sum() / hard.sum(), rtol=1e-5)
    kl = jax.jit(lambda key: model.kl(records, key))(jax.random.key(3))
    np.testing.assert_allclose(kl, jnp.stack([low.sum(1), (top + begins).sum(1)], 1), rtol=1e-5)


def test_the_prior_is_held_to_lengths_and_numbers() -> None:
    """l_max = 3 frames, N_max = 2 segments; a segment that is too long ends all the same."""
    begins = jnp.array([[1.0, 0, 1, 0, 0, 0]])
    odds = held(jnp.full((1, 6), 0.5), begins, 3, 2)
    np.testing.assert_allclose(odds, [[0.5, 0.5, -CERTAIN, -CERTAIN, CERTAIN, CERTAIN]])
    assert held(jnp.full((1, 6), 0.5), begins, 9, 9).tolist() == [[0.5] * 6]
    assert jax.nn.sigmoid(CERTAIN) == pytest.approx(1 - 1e-6, abs=1e-7)


def test_relaxation_by_its_closed_form() -> None:
    odds, noise = jnp.array([0.3, -2.0]), jnp.array([-0.1, 0.5])
    value, slope = jax.vmap(jax.value_and_grad(lambda o, n: straight_through(o, n, 0.5)))(
        odds, noise
    )
    assert value.tolist() == [1.0, 0.0]
    soft = 1 / (1 + np.exp(-np.array([0.2, -1.5]) / 0.5))
    np.testing.assert_allclose(slope, soft * (1 - soft) / 0.5, rtol=1e-5)
    draws = straight_through(jnp.array(1.0), jax.random.logistic(jax.random.key(0), (20_000,)), 1.0)
    assert float(draws.mean()) == pytest.approx(1 / (1 + np.exp(-1)), abs=0.01)
    first, later, last = (temperature(jnp.array(n), VTAConfig()) for n in (99.0, 99_999.0, 1e7))
    assert float(first) == pytest.approx(0.1 + 0.9 * 0.999, rel=1e-5)
    assert float(later) == pytest.approx(0.1 + 0.9 * 0.999**1000, rel=1e-4)
    assert float(last) == pytest.approx(0.1)


def test_kl_of_known_bernoullis() -> None:
    """KL[B(3/4) ‖ B(1/2)] = log 2 - H(3/4)."""
    q, p = 0.75, 0.5
    want = q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))
    got = bernoulli_kl(jnp.log(jnp.array(3.0)), jnp.array(0.0))
    assert float(got) == pytest.approx(want, rel=1e-5)
    assert float(bernoulli_kl(jnp.array(2.0), jnp.array(2.0))) == 0


@pytest.mark.slow
@pytest.mark.learning
def test_it_learns_where_segments_begin(seeds: list[int], margins: Any) -> None:
    """Levels jump every fifth frame and stay between: after 120 updates segments begin there more
    often than elsewhere (1.2 times is the mark), and the loss has fallen."""
    config = ClockworkConfig(
        strides=(1,), window="lookahead", deter=16, hidden=16, stoch=4, vector_std=0.1, min_std=1e-4
    )
    model = drawn(lambda: VTA(config, VTAConfig(), {"x": (2,)}, nnx.Rngs(0)), 0.0)
    graph, params = split(model)
    optimizer = make_optimizer(OptimizerConfig(lr=3e-3, clip=10.0, warmup=0))
    update = make_update(make_loss(graph), optimizer)

    @jax.jit
    def look(params: Any, records: Any, key: Any) -> Any:
        return join(graph, params).observe(records, model.draw_noise(key, 8, 15))

    shares = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        state = initial_state(
            jax.tree.map(jnp.array, params), initial_aux(model, 8, False), optimizer
        )
        losses = []
        for key in jax.random.split(jax.random.key(seed), 120):
            x = np.repeat(rng.normal(size=(8, 3, 2)), 5, axis=1).astype(np.float32)
            clips = Clips(video({"x": jnp.asarray(x)}), jnp.zeros(8, bool))
            state, metrics = update(state, clips, key)
            losses.append(float(metrics["loss/total"]))
        beliefs, _ = look(state.params, clips.records, jax.random.key(9))
        q = np.asarray(jax.nn.sigmoid(beliefs.odds)).mean(0)
        jumps, others = q[[5, 10]].mean(), np.delete(q, [0, 5, 10]).mean()
        assert np.mean(losses[-10:]) < np.mean(losses[:10])
        assert float(state.aux.carry) == 120
        shares.append(jumps / (1.2 * others) - 1)
    margins(shares)


@pytest.mark.parametrize("size", [32, 48, 112])
def test_convolutions_halve_and_double(size: int) -> None:
    """32 → 16 → 8 → 4 → 1; what is left last, 4 to 7 pixels, is one kernel."""
    steps = edges(size)
    assert all(a == 2 * b for a, b in zip(steps, steps[1:], strict=False)) and 4 <= steps[-1] <= 7

    def both(x: Any) -> Any:
        rngs = nnx.Rngs(0)
        encoder = HalvingEncoder(size, 3, 4, jnp.float32, rngs)
        decoder = HalvingDecoder(4, size, 3, 4, "tanh", jnp.float32, rngs)
        assert decoder.linear is None
        seen = encoder(x)
        return seen, decoder(seen)

    seen, drawn_back = jax.eval_shape(both, jnp.zeros((2, size, size, 3)))
    assert seen.shape == (2, 4) and drawn_back.shape == (2, size, size, 3)


def test_its_size_is_that_of_the_paper() -> None:
    """CW-VAE Table D.2 gives VTA 3 million parameters, at 64×64 in colour."""
    config = resolve_video("vta", "moving_digits", "minerl", "paper", True, "float32")
    shapes = {"image": (64, 64, 3)}
    model = nnx.eval_shape(lambda: VTA(config.model, config.vta, shapes, nnx.Rngs(0)))
    count = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(split(model)[1]))
    assert 2.5e6 < count < 3.5e6
    assert config.optimizer.lr == 5e-4 and config.optimizer.clip == 10


def test_an_update_cools_the_draws_and_holds_the_prior(
    model: VTA, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of update 99: its temperature, and how long segments are held to be."""
    seen, loss, observe = {}, VTA._loss, VTA.observe

    def observed(
        self: VTA, records: Any, noise: Any, heat: Any = COOLEST, **more: Any
    ) -> tuple[Any, Any]:
        seen["heat"] = float(heat)
        return observe(self, records, noise, heat, **more)

    def lost(self: VTA, records: Any, beliefs: Any, hold: Any) -> Any:
        seen["hold"] = hold
        return loss(self, records, beliefs, hold)

    monkeypatch.setattr(VTA, "observe", observed)
    monkeypatch.setattr(VTA, "_loss", lost)
    model.learn(Clips(records, jnp.zeros(B, bool)), jnp.array(99.0), jax.random.key(0))
    assert seen == {"heat": pytest.approx(0.1 + 0.9 * 0.999, rel=1e-5), "hold": (8, 2)}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--strides", "1,4"), r"model.strides: expected \(1,\) of vta, received \(1, 4\)"),
        (("--streams", "True"), "streams: expected False of vta, received True"),
        (("--model.latent", "categorical"), "model.latent: expected gaussian of vta"),
        (("--objective.kl", "balanced"), "objective.kl: expected elbo of vta"),
        (("--vta.max-length", "0"), "vta.max.length: expected 1 or more"),
        (("--vta.max-length", "3"), "segments that can fill a sequence, received at most 0.25"),
    ],
)
def test_settings_that_cannot_be_are_refused(flags: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        parse_pretrain(["--preset", "vta", "--data", "moving_digits", *flags], False, "float32")
    assert "\n" not in str(error.value)
