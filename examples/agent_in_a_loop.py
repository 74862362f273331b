"""A trained agent in your own loop: it acts, imagines, and is evaluated.

    clockwork train --env gym:Pendulum-v1 --logdir runs/pendulum
    python examples/agent_in_a_loop.py runs/pendulum

The agent builds no environment to act in, and you handle no keys, carry or codec.
"""

import sys

import gymnasium
import numpy as np

from clockwork import load_agent, metrics_frame


def main(run: str, steps: int) -> None:
    """Acts, then looks ahead."""
    env = gymnasium.make("Pendulum-v1")
    agent = load_agent(run, env.observation_space)  # best=True: the best evaluated state
    obs, _ = env.reset(seed=0)
    first, rewards = True, []  # first: an episode begins, so the agent's memory is reset
    for _ in range(steps):
        action = agent.act(obs, first)  # the mode; greedy=False samples, as in training
        obs, reward, terminated, truncated, _ = env.step(action)
        rewards.append(float(reward))
        if first := terminated or truncated:
            obs, _ = env.reset()
    print(f"{steps} steps, sum of rewards {sum(rewards):.1f}")

    # What the agent predicts from the last observation, at the top clock alone.
    future = agent.imagine(ticks=5, samples=16)
    print(f"critic's value {agent.value()[0]:.1f}; imagined: window rewards {future.reward.shape}")
    print(f"a tick is {agent.stride} steps; the first imagined action is {future.actions[0][0]}")

    # Evaluate in environments that the agent builds itself, and read its training log.
    print(f"return over 2 episodes: {agent.evaluate(episodes=2)['return']:.1f}")
    print(metrics_frame(run)["episode/return"].dropna().tail(3).to_string())

    act_in_several(run, steps)


def act_in_several(run: str, steps: int) -> None:
    """Acts in three environments at once: observations and `first` are arrays.

    By default, Gymnasium resets an environment in the step after its episode's end, and ignores
    that step's action.
    """
    envs = gymnasium.make_vec("Pendulum-v1", num_envs=3)
    agent = load_agent(run, envs.single_observation_space)
    obs, _ = envs.reset(seed=0)
    first, done = np.ones(3, bool), np.zeros(3, bool)
    for _ in range(steps):
        actions = agent.act(obs, first)
        obs, _, terminated, truncated, _ = envs.step(np.asarray(actions))
        first, done = done, terminated | truncated
    envs.close()
    print(f"{len(actions)} actions for three environments")


if __name__ == "__main__":
    main(sys.argv[1], 200)
