"""Scores of video predictions, and what each level of a model stores."""
