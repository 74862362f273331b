"""A trained agent in one's own loop: it acts, says what it expects, and is evaluated.

    clockwork train --env gym:Pendulum-v1 --logdir runs/pendulum
    python examples/agent_in_a_loop.py runs/pendulum

No environment is built by it, and no key, carry or codec is yours to handle.
"""

import sys

import gymnasium
import numpy as np

from clockwork import load_agent, metrics_frame


def main(run: str, steps: int) -> None:
    """Acts for so many steps, then looks ahead."""
    env = gymnasium.make("Pendulum-v1")
    agent = load_agent(run, env.observation_space)  # best=True: the state that evaluated best
    obs, _ = env.reset(seed=0)
    first, rewards = True, []  # first: at an episode's first observation its memory begins anew
    for _ in range(steps):
        action = agent.act(obs, first)  # by modes; greedy=False samples as it explored
        obs, reward, terminated, truncated, _ = env.step(action)
        rewards.append(float(reward))
        if first := terminated or truncated:
            obs, _ = env.reset()
    print(f"{steps} steps, sum of rewards {sum(rewards):.1f}")

    # What it expects from the observation last acted on, at the top clock alone.
    future = agent.imagine(ticks=5, samples=16)
    print(
        f"critic's value {agent.value()[0]:.1f}; imagined: rewards of windows {future.reward.shape}"
    )
    print(f"a tick is {agent.stride} steps; the first imagined action is {future.actions[0][0]}")

    # Several environments side by side are arrays, with an array of firsts.
    actions = load_agent(run).act(np.zeros((3, 3), np.float32), first=np.ones(3, bool))
    print(f"{len(actions)} actions of three environments")

    # In environments of its own, and what it logged while it learned.
    print(f"return over 2 episodes: {agent.evaluate(episodes=2)['return']:.1f}")
    print(metrics_frame(run)["episode/return"].dropna().tail(3).to_string())


if __name__ == "__main__":
    main(sys.argv[1], 200)
