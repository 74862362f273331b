"""stable-baselines3's PPO with its own defaults, on the environment as our agent sees it."""

import importlib
from collections.abc import Sequence
from typing import Any

from common import UserError
from configs import parse_train
from envs import make_agent_env
from training.build import EVAL_SEED


def ppo(flags: Sequence[str], seed: int, episodes: int) -> dict[str, Any]:
    """Train PPO and play with it.

    Args:
      flags: of `train_agent.py`; the environment and the number of its steps are read.
      episodes: of each kind.
    Returns:
      steps: of the environment, rounded up to whole rollouts; greedy, sampled: returns by episode;
      version: of stable-baselines3.
    Raises:
      UserError: if stable-baselines3 is not installed.
    """
    try:
        sb3 = importlib.import_module("stable_baselines3")
    except ImportError:
        raise UserError(
            "arm ppo: expected stable-baselines3, received none; pip install stable-baselines3"
        ) from None
    config = parse_train(flags, False, "float32")
    env = make_agent_env(config.env)
    model = sb3.PPO("MultiInputPolicy", env, seed=seed, device="cpu")
    model.learn(config.steps)
    found = {
        kind: [play(env, model, EVAL_SEED + i, kind == "greedy") for i in range(episodes)]
        for kind in ("greedy", "sampled")
    }
    env.close()
    return {"steps": model.num_timesteps, "version": sb3.__version__, **found}


def play(env: Any, model: Any, seed: int, greedy: bool) -> float:
    """Return of one episode."""
    obs, _ = env.reset(seed=seed)
    total, done = 0.0, False
    while not done:
        action, _ = model.predict(obs, deterministic=greedy)
        # [()] makes a number of an array without dimensions, which not every environment takes
        obs, reward, terminated, truncated, _ = env.step(action[()])
        total, done = total + float(reward), terminated or truncated
    return total
