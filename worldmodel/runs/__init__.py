"""What a run leaves on disk: logs, videos, checkpoints, configuration."""
