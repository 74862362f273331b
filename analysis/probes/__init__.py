"""Probes of what a predicted frame still gets right: digits, rooms, places."""
