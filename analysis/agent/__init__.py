"""Evaluation and analysis of a trained agent: its levels, its predictions, what-if futures."""
