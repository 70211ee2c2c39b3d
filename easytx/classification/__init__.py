"""Classification of texts, of pairs of texts and of texts with images; regression; multi-label classification."""

from easytx.classification.args import (
    ClassificationArgs,
    MultiLabelClassificationArgs,
    MultiModalClassificationArgs,
)
from easytx.classification.model import ClassificationModel
from easytx.classification.multi_label import MultiLabelClassificationModel
from easytx.classification.multi_modal import MultiModalClassificationModel

__all__ = [
    "ClassificationArgs",
    "ClassificationModel",
    "MultiLabelClassificationArgs",
    "MultiLabelClassificationModel",
    "MultiModalClassificationArgs",
    "MultiModalClassificationModel",
]
