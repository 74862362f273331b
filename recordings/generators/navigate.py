"""Walks through the builtin Navigate world: its frames alone, or all that an agent sees and does.

Read next: `envs/navigate/videos.py`, the walks; `recordings/demonstrations.py`, demonstrations to
learn from.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from agents import ActionCodec
from configs.presets import resolve
from configs.schema import TrainConfig
from envs import EnvConfig
from envs.config import NAVIGATE
from envs.navigate.videos import Episode, NavigateVideos
from recordings.episode import Video


@dataclass(frozen=True)
class NavigateWalks:
    """Walks of the scripted follower from goal to goal. Factors: see `NavigateVideos`."""

    length: int = 100
    """Steps per walk: the agent's with `env`, else ticks."""
    env: str = ""
    """Empty: frames alone, at every tick. Otherwise the environment whose agent's view is recorded,
    with that environment's preset."""
    actions: bool = False
    """With `env`: keep actions and rewards. Otherwise they are unknown, as in video."""
    dense: bool = True
    """With `actions`: rewards of the dense task rather than the sparse one."""

    def video(self, index: int, seed: int) -> Video:
        """Walk number `index` of the endless series that `seed` determines."""
        episode = self._walks.episode(index, seed)
        name = f"navigate-{index:06d}"
        if not self.env:
            return Video(name, {"image": episode.obs["pov"]}, episode.factors)
        if not self.actions:
            return Video(name, episode.obs, episode.factors, terminal=bool(episode.terminal[-1]))
        ended = bool(episode.terminal[-1])
        action = self._encoded(episode)
        return Video(name, episode.obs, episode.factors, action, episode.reward, ended)

    def _encoded(self, episode: Episode) -> np.ndarray:
        """The actions as encoded by the agent's codec, [T, A]."""
        space = self._walks.agent_env().action_space
        return ActionCodec(space).encode(episode.action)

    @cached_property
    def _preset(self) -> TrainConfig:
        return resolve("auto", self.env or NAVIGATE, "auto", False, "float32")

    @cached_property
    def _walks(self) -> NavigateVideos:
        env = self._preset.env if self.env else EnvConfig(NAVIGATE)
        env = replace(env, options=env.options | {"dense": str(self.dense)})
        return NavigateVideos(env, self.length)
