"""Scores: pure functions from arrays or lists to a dict of names and numbers, one module a kind of task."""
