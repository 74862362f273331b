"""DLH by a plain loop, its limits and closed forms, who sees what, and its size."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.models import drawn
from flax import nnx

from configs.video_presets import parse_pretrain, resolve_video
from worldmodel import ClockworkConfig, OptimizerConfig
from worldmodel.baselines.dlh import DLH, DLHConfig
from worldmodel.learner import initial_state, join, make_optimizer, make_update, split
from worldmodel.pretraining import initial_aux, make_loss
from worldmodel.records import video
from worldmodel.video_model import Clips, open_loop

B, T, N, X = 2, 7, 3, 3
CONFIG = ClockworkConfig(
    strides=(1,),
    window="lookahead",
    architecture="original",
    deter=6,
    hidden=8,
    stoch=3,
    min_std=0.1,
)
SETTINGS = DLHConfig(levels=N, units=8, ramp=10)


@pytest.fixture(scope="module")
def model() -> DLH:
    return drawn(lambda: DLH(CONFIG, SETTINGS, {"x": (X,)}, nnx.Rngs(0)), 0.3, 3)


@pytest.fixture(scope="module")
def records() -> Any:
    """Frames that wander slowly, and jump from frame 3 on: levels both stay and change."""
    x = np.cumsum(np.random.default_rng(1).normal(size=(B, T, X)) * 0.05, axis=1)
    x[:, 3:] += 10 * np.random.default_rng(2).normal(size=(B, T - 3, X))
    return video({"x": jnp.asarray(x, jnp.float32)})


@pytest.fixture(scope="module")
def observe(model: DLH) -> Any:
    """(records, changes or None, blind) to beliefs; the same noise every time."""

    def run(records: Any, changes: Any, blind: tuple[int, ...]) -> Any:
        noise = model.draw_noise(jax.random.key(1), *records.mask.shape)
        return model.observe(records, noise, blind, changes)[0]

    return jax.jit(run, static_argnums=2)


def concat(*parts: Any) -> Any:
    return jnp.concatenate(parts, axis=-1)


def loop(model: DLH, records: Any, changes: np.ndarray, row: int) -> Any:
    """One video of the algorithm with plain conditions, given which levels change: features, KL
    [T, N], and by how many nats the static prior is further off than the change prior, nan where it
    is not asked."""
    noise = model.draw_noise(jax.random.key(1), B, T)
    x = [model.embed(model.encoder(model.units(records.obs)))[row : row + 1]]
    for up in model.up:
        x.append(up(x[-1]))
    zero = jnp.zeros((1, CONFIG.deter))
    s, d, c = [jnp.zeros((1, CONFIG.stoch))] * N, [zero] * N, [zero] * N
    believed: list[Any] = [None] * N
    features, kls, asked = [], [], []
    for t in range(T):
        gaps = [jnp.nan] * N
        for n in range(1, N):
            if t > 0 and changes[t, n - 1]:
                q = model.stats(model.posterior[n](concat(x[n][:, t], c[n])))
                change = model.stats(model.change[n](concat(d[n], c[n])))
                gaps[n] = (model.latent.kl(q, believed[n]) - model.latent.kl(q, change))[0]
        c_t, kl = zero, [jnp.zeros(())] * N
        for n in reversed(range(N)):
            if n == 0 or changes[t, n - 1]:
                q = model.stats(model.posterior[n](concat(x[n][:, t], c_t)))
                change = model.stats(model.change[n](concat(d[n], c_t)))
                prior = change if changes[t, n] else believed[n]
                kl[n] = model.latent.kl(q, prior)[0]
                believed[n] = q
                s[n] = q["mean"] + q["std"] * noise.s[row : row + 1, t, n]
            c[n] = c_t
            if n:
                c_t = model.down[n - 1](concat(s[n], c_t))
        d = [gru(s_n, d_n) for gru, s_n, d_n in zip(model.temporal, s, d, strict=True)]
        features.append(concat(s[0], c[0])[0])
        kls.append(jnp.stack(kl))
        asked.append(jnp.stack([jnp.asarray(gap) for gap in gaps]))
    return jnp.stack(features), jnp.stack(kls), jnp.stack(asked)


def test_the_algorithm_by_a_plain_loop(model: DLH, records: Any, observe: Any) -> None:
    got = observe(records, None, ())
    changes = np.asarray(got.changes)
    assert (changes[:, 0] == 1).all() and (changes[..., 0] == 1).all()
    assert (np.diff(changes, axis=-1) <= 0).all()  # nested
    assert all(0 < changes[:, 1:, n].mean() < 1 for n in (1, 2))  # both stay and change
    row = int(changes[:, 1:, 2].sum(1).argmax())
    features, kl, asked = jax.jit(lambda r: loop(model, r, changes[row], row))(records)
    np.testing.assert_allclose(got.features[row], features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.kl[row], kl, rtol=1e-3, atol=1e-4)
    said = ~np.isnan(np.asarray(asked))
    assert said.sum() == changes[row, 1:, :-1].sum()
    np.testing.assert_array_equal(np.asarray(asked)[said] >= 0, changes[row][said] == 1)


def test_with_the_indicator_at_1_it_is_a_hierarchy_of_rssms(
    model: DLH, records: Any, observe: Any
) -> None:
    """Every level at every frame from its own past and the levels above, no static prior."""
    got = observe(records, jnp.ones((B, T, N)), ())

    @jax.jit
    def rssm(records: Any) -> Any:
        noise = model.draw_noise(jax.random.key(1), B, T)
        x = [model.embed(model.encoder(model.units(records.obs)))]
        for up in model.up:
            x.append(up(x[-1]))
        d, out = [jnp.zeros((B, CONFIG.deter))] * N, []
        for t in range(T):
            c, kl = jnp.zeros((B, CONFIG.deter)), []
            for n in reversed(range(N)):
                prior = model.stats(model.change[n](concat(d[n], c)))
                post = model.stats(model.posterior[n](concat(x[n][:, t], c)))
                s = model.latent.sample(post, noise.s[:, t, n])
                d[n] = model.temporal[n](s, d[n])
                kl.append(model.latent.kl(post, prior))
                features, c = concat(s, c), model.down[n - 1](concat(s, c)) if n else c
            out.append((features, jnp.stack(kl[::-1], -1)))
        return jax.tree.map(lambda *parts: jnp.stack(parts, 1), *out)

    features, kl = rssm(records)
    np.testing.assert_allclose(got.features, features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.kl, kl, rtol=1e-3, atol=1e-4)


def test_of_a_still_picture_nothing_changes_above_level_1(model: DLH, observe: Any) -> None:
    """What is inferred is what was: the static prior is exact, and costs nothing."""
    still = video({"x": jnp.full((B, T, X), 0.4)})
    beliefs = observe(still, None, ())
    np.testing.assert_array_equal(beliefs.changes[:, 1:], [[[1, 0, 0]] * (T - 1)] * B)
    np.testing.assert_allclose(beliefs.kl[:, 1:, 1:], 0, atol=1e-6)
    assert (np.asarray(beliefs.kl)[:, 1:, 0] > 0).all()


def test_the_indicators_cost_what_their_prior_did_not_expect(
    model: DLH, records: Any, observe: Any
) -> None:
    """-log p(e), where the level below changes; none at a video's start, nor of level 1."""
    beliefs = jax.tree.map(np.asarray, observe(records, None, ()))
    p = 1 / (1 + np.exp(-beliefs.odds.astype(float)))
    said = -np.log(np.where(beliefs.changes == 1, p, 1 - p))
    said[:, 0] = said[..., 0] = 0
    said[..., 1:] *= beliefs.changes[..., :-1]
    np.testing.assert_allclose(beliefs.surprise, said, rtol=1e-4, atol=1e-6)


def test_nothing_later_is_seen(model: DLH, records: Any, observe: Any) -> None:
    before = observe(records, None, ())
    moved = records._replace(obs={"x": records.obs["x"].at[:, 3].add(1.0)})
    after = observe(moved, None, ())
    differs = np.any(np.asarray(after.features != before.features), axis=(0, 2))
    assert differs[:4].tolist() == [False] * 3 + [True]


def test_a_level_left_blind_follows_its_prior(model: DLH, records: Any, observe: Any) -> None:
    other = records._replace(obs={"x": records.obs["x"][:, ::-1] + 1.0})
    for n in (0, 2):
        assert (np.asarray(observe(records, None, (n,)).kl)[..., n] == 0).all()
    unseen = [observe(x, None, (0, 1, 2)).features for x in (records, other)]
    np.testing.assert_array_equal(*unseen)
    half = [observe(x, None, (0,)).features for x in (records, other)]
    assert not np.allclose(*half)


def test_what_stays_in_a_prediction_is_kept(model: DLH, records: Any) -> None:
    """And the context alone decides it."""
    run = jax.jit(lambda r: open_loop(model, r, 5, 8, jax.random.key(0))[1])
    rolled = run(records)

    def moved(time: int) -> Any:
        return run(records._replace(obs={"x": records.obs["x"].at[:, time].add(1.0)}))

    np.testing.assert_array_equal(moved(5).features, rolled.features)
    assert not np.allclose(moved(4).features, rolled.features)
    ticks, entropy = np.asarray(rolled.ticks), np.asarray(rolled.entropy)
    assert ticks.shape == entropy.shape == (B, 8, N) and (ticks[..., 0] == 1).all()
    assert (np.diff(ticks, axis=-1) <= 0).all() and 0 < ticks[..., 1].mean() < 1
    kept = (np.diff(entropy, axis=1) == 0)[..., 1:]
    np.testing.assert_array_equal(kept, ticks[:, 1:, 1:] == 0)


def test_the_loss_is_the_sum_of_its_parts_and_kl_grows_into_it(model: DLH, records: Any) -> None:
    """At update n (from 0) of a ramp of 10 the weight is (n + 1) / 10; runs compare at 1."""
    clips = Clips(records, jnp.zeros(B, bool))

    @jax.jit
    def run(updates: Any, key: Any) -> Any:
        beliefs, _ = model.observe(records, model.draw_noise(key, B, T))
        whole = model.loss(records, jax.random.clone(key))
        return beliefs, whole, model.learn(clips, updates, jax.random.clone(key))

    beliefs, (loss, metrics), (part, (after, trained)) = run(jnp.array(2.0), jax.random.key(3))
    nats = float((beliefs.kl + beliefs.surprise).sum()) / (B * T)
    np.testing.assert_allclose(loss, metrics["nll/x"] + nats, rtol=1e-5)
    np.testing.assert_allclose(part, metrics["nll/x"] + 0.3 * nats, rtol=1e-5)
    np.testing.assert_allclose(trained["loss/model"], loss, rtol=1e-6)
    assert float(after) == 3 and float(trained["kl/weight"]) == pytest.approx(0.3)
    _, _, (late, _) = run(jnp.array(50.0), jax.random.key(3))
    np.testing.assert_allclose(late, loss, rtol=1e-6)
    kl = jax.jit(lambda key: model.kl(records, key))(jax.random.key(3))
    np.testing.assert_allclose(kl, (beliefs.kl + beliefs.surprise).sum(1), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.learning
def test_its_upper_level_changes_where_the_data_do(seeds: list[int], margins: Any) -> None:
    """One of two dimensions moves at every frame, the other jumps every fifth: after 100 updates
    level 2 changes there more than 1.5 times as often as elsewhere, and the loss has fallen."""
    config = ClockworkConfig(
        strides=(1,), window="lookahead", architecture="original", deter=16, hidden=16, stoch=4,
        vector_std=0.1, min_std=1e-4,
    )  # fmt: skip
    settings = DLHConfig(levels=2, units=16, ramp=25)
    model = drawn(lambda: DLH(config, settings, {"x": (2,)}, nnx.Rngs(0)), 0.0)
    graph, params = split(model)
    optimizer = make_optimizer(OptimizerConfig(lr=3e-3, warmup=0))
    update = make_update(make_loss(graph), optimizer)

    @jax.jit
    def look(params: Any, records: Any, key: Any) -> Any:
        return join(graph, params).observe(records, model.draw_noise(key, 8, 15))[0].changes

    shares = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        state = initial_state(
            jax.tree.map(jnp.array, params), initial_aux(model, 8, False), optimizer
        )
        losses = []
        for key in jax.random.split(jax.random.key(seed), 100):
            jumps = np.repeat(rng.normal(size=(8, 3)), 5, axis=1)
            phase = rng.uniform(0, 6, (8, 1)) + 0.7 * np.arange(15)
            x = np.stack([np.sin(phase), jumps], -1).astype(np.float32)
            clips = Clips(video({"x": jnp.asarray(x)}), jnp.zeros(8, bool))
            state, metrics = update(state, clips, key)
            losses.append(float(metrics["loss/model"]))
        e = np.asarray(look(state.params, clips.records, jax.random.key(9)))[..., 1].mean(0)
        there, elsewhere = e[[5, 10]].mean(), np.delete(e, [0, 5, 10]).mean()
        assert np.mean(losses[-10:]) < np.mean(losses[:10])
        shares.append(there / max(1.5 * elsewhere, 0.01) - 1)
    margins(shares)


def test_its_size_is_that_of_the_paper() -> None:
    """7 million parameters with three levels (DLH appendix A.1), of convolutions that it does not
    say; the rest is Table 4."""
    config = resolve_video("dlh", "moving_digits", "minerl", "paper", True, "float32")
    shapes = {"image": (64, 64, 3)}
    model = nnx.eval_shape(lambda: DLH(config.model, config.dlh, shapes, nnx.Rngs(0)))
    params = split(model)[1]
    count = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(params))
    assert 6e6 < count < 7.5e6
    widths = [
        [x["linear"]["kernel"].shape[1] for x in part[0]["hidden"].values()]
        for part in (params["posterior"], params["change"], params["up"], params["down"])
    ]
    assert widths == [[40, 40, 40], [40, 40, 40], [200], [200]]
    grus = [params[name][0]["recurrent"]["kernel"].shape for name in ("temporal", "counter")]
    assert grus == [(200, 600)] * 2
    assert (config.optimizer.lr, config.optimizer.eps) == (5e-4, 1e-4)
    assert (config.dlh.levels, config.dlh.ramp, config.model.stoch) == (3, 10_000, 20)
    assert (config.batch, config.length) == (100, 100)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--strides", "1,6"), r"model.strides: expected \(1,\) of dlh, received \(1, 6\)"),
        (("--streams", "True"), "streams: expected False of dlh, received True"),
        (("--dlh.levels", "0"), "dlh.levels: expected 1 or more"),
        (("--model.window", "causal"), "model.window: expected lookahead of dlh"),
    ],
)
def test_settings_that_cannot_be_are_refused(flags: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        parse_pretrain(["--preset", "dlh", "--data", "moving_digits", *flags], False, "float32")
    assert "\n" not in str(error.value)
