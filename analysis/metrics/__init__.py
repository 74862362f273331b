"""Metrics of the distance between predicted and true frames."""
