"""Vector frames by hand, the marks on results made up, and a small cell from end to end."""

import copy
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from analysis.probes.ball import colours
from analysis.video.inspection import SIGHTED
from benchmarks.paper import cells, pixels, vectors
from benchmarks.paper.cells import means
from benchmarks.paper.claims import CLAIMS, verdicts
from benchmarks.paper.systems import FACTORS, OBS, SYSTEMS, Scale, clockwork, make
from benchmarks.paper.world import FASTEST, NOISE, PERIOD, SLOWEST, WIDTH, films, right
from common import UserError, read_json
from envs.images import resize
from recordings.generators.moving_ball import MovingBall
from worldmodel.video_model import Filtered, Rolled, VideoModel

SMALL = Scale(
    updates=4, per_program=2, batch=3, length=24, context=8, horizon=120, videos=2, deter=8, stoch=2
)


@pytest.fixture(scope="module")
def true():
    return jax.tree.map(np.asarray, films(jax.random.key(0), 3, 200, 2.0))


def test_films_are_what_they_say(true):
    frames, light = true.frames, true.light
    assert frames.shape == (3, 200, WIDTH)
    assert abs((frames[..., :4] - true.place).std() - NOISE) < 0.003
    moved = np.abs(np.diff(true.place.reshape(3, 200, 2, 2), axis=1))
    fast = np.linalg.norm(np.median(moved, axis=1), axis=-1) / 4  # speed 2, of a box 2 wide
    assert SLOWEST < fast.min() < fast.max() < FASTEST
    for switches in (np.flatnonzero(np.diff(row)) for row in light):
        assert len(switches) == 4 or switches[0] == PERIOD - 1
        assert set(np.diff(switches)) == {PERIOD}
    shown = frames[..., 4:].reshape(3, 200, 3, 5)
    assert (shown[:, :, :2].argmax(-1) == true.identity[:, None]).all()
    assert (shown[:, :, 2].argmax(-1) == light).all()


def test_what_is_right_by_hand(true):
    off = true.frames.copy()
    off[0, :, 4:9] = 1 - 2 * off[0, :, 4:9]  # one ball of six is taken for another
    off[1, :50, 14:] *= -1  # one light of three, at first
    off[..., :4] = true.place + 0.5
    found = right(off, true)
    np.testing.assert_allclose(found["identity"], 5 / 6)
    np.testing.assert_allclose(found["light"], np.repeat([2 / 3, 1.0], [50, 150]))
    np.testing.assert_allclose(found["place"], 0.5, rtol=1e-5)
    np.testing.assert_allclose(means(np.arange(45.0)), [9.5, 29.5])


def made_up():
    """Results of which every mark holds."""
    cells = {}
    for system in (s for s in SYSTEMS if s.kind == "cwvae"):
        factor = 0 if len(system.strides) == 1 else system.strides[1]
        upper = 30 / system.speed
        summary = {"identity_later": [0.8] * 5, "place": [0.10] * 5, "light": [0.9] * 5}
        blind = {"identity_later": [0.22] * 5, "place": [0.104] * 5, "light": [0.9] * 5}
        curve = {"identity": [0.9] * 50, "light": [0.5] * 50, "place": [0.3] * 50}
        cells[system.name] = {
            "seen": 36, "scale": vars(Scale().whole(system)), "seeds": list(vectors.SEEDS),
            "seconds_per_update": 1.0,
            "frames_to_half": [100 * factor + seed for seed in range(5)],
            "kl": [[100.0 + seed, upper, upper / 2] for seed in range(5)],
            "entropy_drift": [[9.0, 9.0, 0.5]] * 5,
            "summary": {SIGHTED: summary, "level 3 blind": blind},
            "curves": {SIGHTED: curve, "level 3 blind": curve},
        }  # fmt: skip
    costs = {"CW-VAE, factor 6": 1.0, "NoTmpAbs (factor 1)": 1.4, "RSSM": 0.9}
    return cells | {"cost": {"seconds_per_update": costs, "scale": vars(Scale())}}


def spoil(cells, index):
    """So that the mark of that number does not hold."""
    middle = cells[clockwork(6).name]
    if index == 0:
        cells[clockwork(1).name]["frames_to_half"] = [900] * 5
        cells[clockwork(2).name]["frames_to_half"] = [900] * 5
    elif index == 1:
        cells[clockwork(8).name]["kl"] = [[100.0, 20.0, 21.0]] * 5
    elif index == 2:
        cells[clockwork(6, 2.0).name]["kl"] = [[100.0, 80.0, 70.0]] * 5
    elif index == 3:
        middle["summary"]["level 3 blind"]["place"] = [0.106] * 5
    elif index == 4:
        cells["cost"]["seconds_per_update"]["RSSM"] = 0.7
    else:
        middle["entropy_drift"] = [[0.0, 0.0, -1.3]] * 5


@pytest.mark.parametrize("index", range(len(CLAIMS)))
def test_marks(index):
    good, bad = made_up(), copy.deepcopy(made_up())
    spoil(bad, index)
    assert CLAIMS[index].check(good).held
    assert [claim.check(bad).held for claim in CLAIMS].index(False) == index
    none = {name: cell for name, cell in good.items() if name not in CLAIMS[index].needs}
    assert verdicts(none)[index].endswith("not run yet.")


def test_identities_that_are_guessed_anyway_show_nothing():
    cells = made_up()
    cells[clockwork(6).name]["summary"][SIGHTED]["identity_later"] = [0.24] * 5
    assert not CLAIMS[3].check(cells).held


def test_a_report_of_what_there_is(tmp_path, monkeypatch):
    for name, cell in made_up().items():
        vectors.keep(tmp_path / "paper" / f"{name}.json", cell)
    vectors.report(tmp_path)
    page = (tmp_path / "paper_vectors.md").read_text()
    assert page.count("**held**") == 6 and "Not run yet: vta, dlh." in page
    assert (
        "| CW-VAE, factor 8 | 1 | 16 of 128 frames | 36 | 802 (800, 801, 802, 803, 804) | 0.90 |"
        in page
    )
    assert (tmp_path / "paper_vectors.png").stat().st_size > 10_000


STORED = Path(__file__).parents[2] / "benchmarks" / "results"


def test_the_stored_page_is_that_of_the_stored_results(tmp_path):
    """Which are of today's settings, or the report would refuse them."""
    shutil.copytree(STORED / "paper", tmp_path / "paper")
    vectors.report(tmp_path)
    page = (tmp_path / "paper_vectors.md").read_text()
    assert page == (STORED / "paper_vectors.md").read_text()


def test_videos_are_whole_ticks_and_updates_have_equally_many_frames():
    """16 of 128 frames; at factor 6, whose top level ticks every 36, 14 of 144."""
    found = {x.name: (y.batch, y.length) for x in SYSTEMS for y in [Scale().whole(x)]}
    middle = {x.name for x in SYSTEMS if x.strides[-1] == 36}
    assert len(middle) == 3
    assert found == {name: (14, 144) if name in middle else (16, 128) for name in found}


def test_results_of_other_settings_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "run", lambda system, scale, seeds: {"seeds": list(seeds)})
    scale, seeds = Scale(), list(vectors.SEEDS)
    middle = vars(scale.whole(clockwork(6)))

    def kept(name, **found):
        path = tmp_path / "paper" / f"{name}.json"
        vectors.keep(path, found)
        vectors.read(tmp_path)
        return path

    kept("cost", scale=vars(scale))
    kept("dlh", scale=vars(scale), seeds=seeds)
    name = clockwork(6).name
    kept(name, scale=middle, seeds=seeds)
    vectors.run_all(tmp_path, ["vta"], 0.0)  # all of them pass; no time is left to run it
    assert not (tmp_path / "paper" / "vta.json").exists()
    with pytest.raises(UserError, match=r"of seeds \[100, .* received dlh of seeds \[1, 2\]"):
        kept("dlh", scale=vars(scale), seeds=[1, 2])
    (tmp_path / "paper" / "dlh.json").unlink()
    with pytest.raises(UserError, match=f"of batch 14, length 144, received {name} of batch 16"):
        kept(name, scale=vars(scale), seeds=seeds)
    kept(name, scale=middle, seeds=seeds)
    with pytest.raises(UserError, match="of deter 96, received cost of deter 5"):
        kept("cost", scale=vars(replace(scale, deter=5)))
    kept("cost", scale=vars(scale))


class Mean(VideoModel):
    """The mean of all frames, learned; two levels that hold nothing."""

    features, clocks = 2 * WIDTH, ("every frame", "never")

    def __init__(self, key):
        self.mean = nnx.Param(jax.random.normal(key, (WIDTH,)))

    def filter(self, records, key, blind=()):
        batch = records.mask.shape[0]
        return Filtered(jnp.zeros((batch, 1, 0)), jnp.full((batch, 1), len(blind), float))

    def roll(self, state, action, action_mask, key):
        frame = jnp.broadcast_to(self.mean[...], (*action_mask.shape, WIDTH))
        zeros = jnp.zeros((*action_mask.shape, 2))
        return Rolled(frame * (1 - state[..., None]), zeros, zeros)

    def decode(self, features):
        return {OBS: features}

    def to_observations(self, means):
        return means

    def loss(self, records, key):
        error = records.obs[OBS] - self.mean[...][None, None]
        return jnp.mean(error**2), {"loss/model": jnp.mean(error**2)}

    def kl(self, records, key):
        return jnp.broadcast_to(jnp.arange(2.0), (records.mask.shape[0], 2))


ONE = {"CELLS": {"small": clockwork(6)}, "ORDER": ("small",), "SCALE": SMALL, "SEEDS": (0, 1)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where one cell has been run: two seeds of a model that is small."""
    path = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "make", lambda system, scale, width, rngs: Mean(rngs.params()))
        for name, value in ONE.items():
            patch.setattr(vectors, name, value)
        vectors.run_all(path, None, 1.0)
    return path


@pytest.fixture
def small(folder):
    return read_json(folder / "paper" / "small.json")


def test_a_cell_is_run_once(small, folder, monkeypatch):
    views = {SIGHTED, "level 1 blind", "level 2 blind"}
    assert set(small["curves"]) == set(small["summary"]) == views
    assert np.shape(small["loss"]) == np.shape(small["kl"]) == (2, 2)
    assert small["kl"] == [[0, 0.67], [0, 0.67]]  # of 24 frames, where 36 were seen
    assert small["entropy_drift"] == [[0, 0], [0, 0]]
    seen = small["curves"][SIGHTED]["place"]
    assert len(seen) == 6 and seen != small["curves"]["level 1 blind"]["place"]
    for name, value in ONE.items():
        monkeypatch.setattr(vectors, name, value)
    monkeypatch.setattr(vectors, "run", lambda *_: pytest.fail("run again"))
    vectors.run_all(folder, None, 1.0)
    with pytest.raises(UserError, match="expected some of small, received large"):
        vectors.run_all(folder, ["large"], 1.0)


def test_updates_are_those_of_a_plain_loop(small):
    """Of seed 1: the same videos, of whole ticks, and updates, one by one."""
    whole = SMALL.whole(clockwork(6))
    assert (whole.batch, whole.length) == (2, 36)
    start, key, *_ = jax.random.split(jax.random.key(1), 4)
    mean = Mean(nnx.Rngs(start).params()).mean[...]
    state, optimizer = SMALL.optimizer.init(mean), SMALL.optimizer
    for update in range(SMALL.updates):
        draw, _ = jax.random.split(jax.random.fold_in(key, update))
        x = films(draw, whole.batch, whole.length, 1.0).frames
        loss, gradient = jax.value_and_grad(lambda m, x=x: jnp.mean((x - m[None, None]) ** 2))(mean)
        change, state = optimizer.update(gradient, state, mean)
        mean = mean + change
        if update % 2:  # the last of a program
            np.testing.assert_allclose(small["loss"][1][update // 2], loss, atol=0.006)
    assert small["loss"][0] != small["loss"][1]


def test_what_is_compared():
    names = [system.name for system in SYSTEMS]
    assert {clockwork(k).name for k in FACTORS} | {"cwvae-1", "vta", "dlh"} <= set(names)
    for system in {system.kind: system for system in SYSTEMS}.values():
        model = nnx.eval_shape(lambda s=system: make(s, SMALL, WIDTH, nnx.Rngs(0)))
        assert len(model.clocks) == {"vta": 2, "dlh": 3}.get(system.kind, len(system.strides))
    assert len(set(names)) == len(names) and set(names) | {"cost"} == set(vectors.ORDER)
    assert all(len(claim.needs) and set(claim.needs) <= set(vectors.ORDER) for claim in CLAIMS)


def test_what_is_read_off_pictures_of_a_ball_is_what_was_drawn():
    """From pictures of 32 x 32, as pixels.py has them."""
    balls = [MovingBall(length=60, change=0.2).video(n, 0) for n in range(3)]
    frames = np.stack([resize(ball.obs["image"], 32) for ball in balls])
    colour = np.stack([ball.factors["colour"] for ball in balls])
    place = np.stack([ball.factors["position"] for ball in balls])
    np.testing.assert_array_equal(colours(frames), colour)
    np.testing.assert_allclose(pixels.places(frames), place, atol=0.3)
    right, off = pixels.knows(frames[:, ::-1], frames)
    np.testing.assert_allclose(right, (colour[:, ::-1] == colour).mean(0))
    assert off.mean() > 5
    black = np.zeros_like(frames)
    assert (colours(black) == -1).all()
    np.testing.assert_allclose(pixels.places(black), 32)
