"""The clockwork world model."""
