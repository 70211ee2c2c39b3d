"""Frames in, tensors out: no model, no training."""
