"""Initialise an agent's run with the parameters of another run, an agent's or a video model's."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from agents.agent import CODECS
from common import UserError
from configs.data import DataConfig
from training.build import Built, load_run
from training.build_video import is_video_run, load_video_run, read_video_config
from worldmodel.learner import Params, TrainState

ENSEMBLE = "ensemble"  # part of an agent that seeks novelty


class Donor(NamedTuple):
    """Parameters to start from."""

    params: dict[str, Params]  # by part of the agent: its world model alone, or all parts
    line: str  # printable description


def open_donor(built: Built, run: Path) -> Donor:
    """Load parameters for an agent from a run: all averaged parameters of another agent, or the
    world model of a run of pretrain_video.py, without the decoders that the agent lacks.

    Raises:
      UserError: if they belong to a different model.
      ValueError: if there is no such run.
    """
    ours = dict(built.shapes)
    if not is_video_run(run):
        agent = load_run(run, built.config.env.name, acts=False)
        params, line = dict(agent.params), f"agent of {run}, {agent.step:,} steps"
        if (ENSEMBLE in params) != (ENSEMBLE in ours):  # acting does not use it
            line += "; novelty is learned from scratch" * (ENSEMBLE in ours)
            ours, params = (
                {k: x for k, x in tree.items() if k != ENSEMBLE} for tree in (ours, params)
            )
        donor = Donor(params, line)
        _check_sees(built, run, agent.built.spaces.shapes)
        remedy = "use the same environment, codec, strides, size and --env.predict"
    else:
        _check_reads_actions(built)
        ours = {"model": ours["model"]}
        video = load_video_run(run)
        what = f"world model of {run}, {video.step:,} updates on {video.config.data.name}"
        _check_sees(built, run, video.spaces.shapes)
        parts = video.params["decoder"]["parts"]
        decoder = {"parts": {x: part for x, part in parts.items() if x in built.predicted}}
        donor = Donor({"model": {**video.params, "decoder": decoder}}, what)
        remedy = "pretrain it with --preset agent, --data.env of this environment, and the same "
        remedy += "strides and size"
    want, have = _shapes(ours), _shapes(donor.params)
    different = sorted(k for k in want.keys() | have.keys() if want.get(k) != have.get(k))
    if different:
        first = different[0]
        raise UserError(
            f"init_from: expected the agent's parameters, with {first} of shape "
            f"{want.get(first, 'none')}, received {have.get(first, 'none')} in {run} and "
            f"{len(different) - 1} more differences; {remedy}"
        )
    return donor


def start_from(state: TrainState, donor: Donor) -> TrainState:
    """Replace the parameters of an agent's initial state by the donor's."""
    average = {**state.average, **_copied(donor.params)}  # copies: the whole state is donated
    aux = state.aux
    if "critic" in donor.params:
        aux = aux._replace(slow_critic=_copied(donor.params["critic"]))
    return state._replace(params={**state.params, **donor.params}, average=average, aux=aux)


def recordings_of(run: Path) -> DataConfig:
    """The data that a run learned from: its videos, or an agent's replay."""
    if is_video_run(run):
        return read_video_config(run).data
    return DataConfig(name=str(run / "replay"))


def _check_sees(built: Built, run: Path, seen: dict[str, tuple[int, ...]]) -> None:
    if seen != built.spaces.shapes:
        raise UserError(
            f"init_from: expected a model of what {built.config.env.name} shows, "
            f"{built.spaces.shapes}, received one of {seen} in {run}; use the same environment, "
            "--env.keys and size of images (--env.image-size, of videos --data.image-size)"
        )


def _check_reads_actions(built: Built) -> None:
    codec = built.config.agent.codec
    if CODECS[codec].coded:
        raise UserError(
            f"init_from: expected a codec whose top level reads actions, as that of a pretrained "
            f"world model does, received {codec!r}, which reads codes; leave out --init-from or "
            "--agent.codec"
        )


def _shapes(params: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path): tuple(leaf.shape) for path, leaf in leaves}


def _copied(params: Any) -> Any:
    return jax.tree.map(jnp.array, params)
