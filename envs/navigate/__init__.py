"""Navigate in the builtin voxel world."""

from envs.navigate.env import NavigateEnv, action_space, observation_space

__all__ = ["NavigateEnv", "action_space", "observation_space"]
