"""Arguments of `NERModel`."""

from __future__ import annotations

from typing import Any

from easytx.config.fields import arg, arguments
from easytx.config.model_args import ModelArgs


@arguments
class NERArgs(ModelArgs):
    """Arguments of `NERModel`."""

    labels_list: list[Any] = arg(default=[], help="All tags, in the order of the head's outputs; empty learns them.")
    classification_report: bool = arg(
        default=False, help="Append a table of the entity types to eval_results.txt after eval_model."
    )
    stride: float = arg(
        default=0.8,
        help="How far a window over a long sentence moves on: a share of its length, or above 1 tokens.",
        above=0,
    )
    sliding_window: bool = arg(
        default=True, help="Let the windows over a long sentence overlap; without it they follow each other."
    )
    loss_type: str | None = arg(
        default=None, help="Loss in place of cross entropy.", choices=("focal", "dice", "tversky")
    )
    loss_args: dict[str, Any] = arg(default={}, help="Options of that loss.")
    lazy_loading: bool = arg(default=False, help="Read any data file as lines of a word and, last, its tag.")
    lazy_loading_start_line: int = arg(default=0, help="Lines to skip at the top of such a file.", low=0)
