"""Analysis of trained world models and agents: metrics of predicted video, probes and reports."""
