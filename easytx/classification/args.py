"""Arguments of the classification classes."""

from __future__ import annotations

from typing import Any

from easytx.config.fields import arg, arguments
from easytx.config.model_args import ModelArgs

_RERANKING = "rerank scores each passage by itself"


@arguments
class ClassificationArgs(ModelArgs):
    """Arguments of `ClassificationModel`."""

    labels_list: list[Any] = arg(default=[], help="All labels, in the order of the head's outputs; empty learns them.")
    labels_map: dict[Any, int] = arg(default={}, help="Label -> number, as another way to give labels_list.")
    regression: bool = arg(default=False, help="Predict one number per row instead of a class.")
    sliding_window: bool = arg(default=False, help="Read long texts in overlapping windows instead of cutting them.")
    stride: float = arg(
        default=0.8, help="How far a window moves on: a share of its length, or above 1 tokens.", above=0
    )
    tie_value: int = arg(
        default=1, help="Class that wins a tie of the windows' votes, where it is among the tied.", low=0
    )
    loss_type: str | None = arg(
        default=None, help="Loss in place of cross entropy.", choices=("focal", "dice", "tversky")
    )
    loss_args: dict[str, Any] = arg(default={}, help="Options of that loss.")
    lazy_text_column: int = arg(default=0, help="Position of the text with lazy_loading.", low=0)
    lazy_text_a_column: int | None = arg(default=None, help="Position of the first text of a pair.", low=0)
    lazy_text_b_column: int | None = arg(default=None, help="Position of the second text of a pair.", low=0)
    lazy_labels_column: int = arg(default=1, help="Position of the label with lazy_loading.", low=0)
    as_reranker: bool = arg(
        default=False, help="Rows are a query_text and a passage: eval_model scores the ranking per query too."
    )
    pairwise_reranking_format: str = arg(default="repeat_query", help="How pairs are written.", no_effect=_RERANKING)
    tourney_mode: bool = arg(default=False, help="Compare passages in rounds.", no_effect=_RERANKING)


@arguments
class MultiLabelClassificationArgs(ClassificationArgs):
    """Arguments of `MultiLabelClassificationModel`."""

    threshold: float | list[float] = arg(
        default=0.5, help="Probability from which a label counts: one number, or one a label."
    )
    predict_names: bool = arg(
        default=False, help="Predict lists of label names, not 0 and 1; training on names sets it."
    )


@arguments
class MultiModalClassificationArgs(MultiLabelClassificationArgs):
    """Arguments of `MultiModalClassificationModel`."""

    multi_label: bool = arg(default=False, help="Any number of labels a row; the constructor's argument sets it.")
    vision_name: str | None = arg(
        default=None, help="Vision encoder to start from: a local folder or a hub name; None for a new one."
    )
    vision_config: dict[str, Any] = arg(
        default={}, help="Fields of a new vision encoder's configuration; model_type names its architecture."
    )
    num_image_embeds: int = arg(default=1, help="Regions that an image is summed up in, from top to bottom.", low=1)
    text_label: str = arg(default="text", help="Name of the texts, in a table or in the samples of a folder.")
    labels_label: str = arg(default="labels", help="Name of the labels there.")
    images_label: str = arg(default="images", help="Name of the images there.")
    image_type_extension: str = arg(default="", help="End of image file names that the data leaves out, as '.jpg'.")
    data_type_extension: str = arg(default="", help="End of the names of sample files; empty for '.json'.")
