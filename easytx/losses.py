"""The losses that `loss_type` chooses from, for use on their own."""

from __future__ import annotations

from easytx.training.losses import DiceLoss, FocalLoss, TverskyLoss

__all__ = ["DiceLoss", "FocalLoss", "TverskyLoss"]
