"""The default command on well-known environments, beside a flat agent and PPO."""
