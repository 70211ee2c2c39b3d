"""Classification of texts and pairs of texts, regression, and multi-label classification."""

from easytx.classification.args import ClassificationArgs, MultiLabelClassificationArgs
from easytx.classification.model import ClassificationModel
from easytx.classification.multi_label import MultiLabelClassificationModel

__all__ = [
    "ClassificationArgs",
    "ClassificationModel",
    "MultiLabelClassificationArgs",
    "MultiLabelClassificationModel",
]
