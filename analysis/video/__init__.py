"""Predictions of video, scored, and what each level of a model holds."""
