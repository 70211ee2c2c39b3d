"""`TransformerModel`, an older name of `ClassificationModel`, so that old scripts run."""

from __future__ import annotations

from easytx.classification import ClassificationModel as TransformerModel

__all__ = ["TransformerModel"]
