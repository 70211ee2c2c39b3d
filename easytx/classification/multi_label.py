"""Any number of labels per text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from easytx.classification.args import MultiLabelClassificationArgs
from easytx.classification.kinds import MANY_LABELS, OneClass
from easytx.classification.model import ClassificationModel
from easytx.config.model_args import ModelArgs
from easytx.core.calls import with_multi_label_second


class MultiLabelClassificationModel(ClassificationModel):
    """Give each text as many labels as fit.

    Labels are lists of 0 and 1, one per label, or lists of label names; predictions come in the same form.

    Example:
        >>> model = MultiLabelClassificationModel("starter")
        >>> model.train_model(train_df)  # columns text and labels, such as ["food", "travel"]
        >>> predictions, probabilities = model.predict(["Ate my way through Lisbon"])
    """

    args_class: ClassVar[type[ModelArgs]] = MultiLabelClassificationArgs
    labels_exclude_each_other: bool = False
    kind: OneClass = MANY_LABELS

    train_model = with_multi_label_second(
        ClassificationModel.train_model, "eval_data", "output_dir", "show_running_loss", "args", "verbose"
    )

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        num_labels: int | None = None,
        pos_weight: Any = None,
        args: Mapping[str, Any] | ModelArgs | None = None,
        use_cuda: bool | None = None,
        cuda_device: int = -1,
        **kwargs: Any,
    ) -> None:
        """See `LabelledModel`; `pos_weight` says, per label, how much more its presence counts than its absence."""
        super().__init__(
            model_type,
            model_name,
            num_labels=num_labels,
            weight=pos_weight,
            args=args,
            use_cuda=use_cuda,
            cuda_device=cuda_device,
            **kwargs,
        )

    @property
    def pos_weight(self) -> Any:
        """How much more the presence of each label counts than its absence, as it was given."""
        return self.weight
