"""Classification of texts, of pairs of texts and of texts with images; regression; multi-label classification."""

from typing import TYPE_CHECKING, Any

from easytx.classification.args import (
    ClassificationArgs,
    MultiLabelClassificationArgs,
    MultiModalClassificationArgs,
)
from easytx.classification.model import ClassificationModel
from easytx.classification.multi_label import MultiLabelClassificationModel

if TYPE_CHECKING:
    from easytx.classification.multi_modal import MultiModalClassificationModel

__all__ = [
    "ClassificationArgs",
    "ClassificationModel",
    "MultiLabelClassificationArgs",
    "MultiLabelClassificationModel",
    "MultiModalClassificationArgs",
    "MultiModalClassificationModel",
]


def __getattr__(name: str) -> Any:
    # Its network is a class of its own, which takes more of transformers than those that only read texts.
    if name == "MultiModalClassificationModel":
        from easytx.classification.multi_modal import MultiModalClassificationModel

        return MultiModalClassificationModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
