"""Models that read where on a page each word stands, besides the words: LayoutLM, LiLT and their kin."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from easytx.config.warn import warn_user
from easytx.data.boxes import BOX, PAGE, boxes_of, with_boxes
from easytx.data.frames import Columns
from easytx.data.tokenise import read_by_word
from easytx.errors import CheckpointError

if TYPE_CHECKING:
    from datasets import Dataset

_IMAGES = {"image", "pixel_values"}


@dataclass(frozen=True)
class Layout:
    """What a network reads of where words stand on a page: a box for each token, or nothing.

    The rows of one that reads boxes need the columns x0, y0, x1 and y1, with one number for each word.

    Attributes:
        model_type: The network's type.
        page: Width and height of the page that boxes lie on; None for a network that does not read any.
    """

    model_type: str = ""
    page: int | None = None

    @classmethod
    def of(cls, auto_class: str, config: Any, *, name: str) -> Layout:
        """Return what a network reads.

        Args:
            auto_class: The Auto class of the network.
            config: Its configuration.
            name: What to call it in messages.

        Raises:
            CheckpointError: If it takes an image of the page as well.
        """
        if not hasattr(config, "max_2d_position_embeddings"):
            return cls(config.model_type)
        inputs = network_inputs(auto_class, config)
        if inputs & _IMAGES:
            raise CheckpointError(
                f"'{name}' is a {config.model_type} model, which reads an image of each page besides its words. "
                "Use a layoutlm or lilt model: these read words and their boxes."
            )
        if "bbox" not in inputs:
            return cls(config.model_type)
        return cls(config.model_type, min(PAGE, int(config.max_2d_position_embeddings) - 1))

    def columns(self, columns: Columns) -> Columns:
        """Return the columns of a task, with those of the boxes; a text has no second one then."""
        return columns if self.page is None else replace(columns, texts=columns.texts[:1], beside=BOX)

    def tokenizer_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a tokenizer is loaded with, so that it reads word by word."""
        return options if self.page is None else {**options, "add_prefix_space": True}

    def tokenizer(self, tokenizer: Any) -> Any:
        """Return a tokenizer, or where the network reads boxes one that reads word by word."""
        return tokenizer if self.page is None else read_by_word(_without_boxes(tokenizer))

    def words(self, texts: list[list[str]]) -> list[list[Any]]:
        """Return texts as they are, or as words where the network reads boxes of these."""
        return texts if self.page is None else [[text.split() for text in part] for part in texts]

    def boxes(
        self, frame: pd.DataFrame, words: Sequence[Sequence[str]], *, name: str, row: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Return the boxes of each row's words, of shape (words, 4); none for a network that does not read them.

        Args:
            frame: The rows.
            words: Those of each row.
            name: What to call them in messages.
            row: The caller's row of each word, where the frame has other rows.

        Raises:
            DataError: If something is wrong with a box.
        """
        if self.page is not None:
            return boxes_of(frame, words, name=name, row=row, page=self.page)
        if all(part in frame for part in BOX):
            warn_user(
                f"{name} has the columns {list(BOX)}, but the model's type is {self.model_type}, which does not "
                "read where words stand on a page; they are not used. Models of the types layoutlm and lilt read them."
            )
        return []

    def placed(self, dataset: Dataset, boxes: Sequence[np.ndarray], tokenizer: Any) -> Dataset:
        """Return features with the boxes of their tokens, where the network reads these.

        The first token of a text lies at [0, 0, 0, 0] and the one that ends it at [1000, 1000, 1000, 1000], as
        LayoutLM was trained, unless the tokenizer says that its model was trained otherwise.
        """
        if self.page is None:
            return dataset
        said = tokenizer.init_kwargs
        corners = {"cls_token": [0] * 4, "sep_token": [self.page] * 4}
        ends = {getattr(tokenizer, f"{token}_id"): said.get(f"{token}_box", box) for token, box in corners.items()}
        return with_boxes(dataset, boxes, ends=ends)


def network_inputs(auto_class: str, config: Any) -> set[str]:
    """Return what the network that an Auto class has for a configuration takes; nothing, where it has none."""
    import transformers

    network = getattr(transformers, auto_class)._model_mapping.get(type(config), None)
    return set() if network is None else set(inspect.signature(network.forward).parameters)


def _without_boxes(tokenizer: Any) -> Any:
    """Return a tokenizer that does not insist on giving the boxes to the tokens itself, as LayoutLMv3's does.

    Published LiLT checkpoints have that one.
    """
    from transformers import PreTrainedTokenizerFast

    if "boxes" not in inspect.signature(type(tokenizer).__call__).parameters:
        return tokenizer
    untyped: Any = PreTrainedTokenizerFast
    kept = {part: value for part, value in tokenizer.init_kwargs.items() if part.endswith("_token_box")}
    return untyped(
        tokenizer_object=tokenizer.backend_tokenizer,
        model_max_length=tokenizer.model_max_length,
        model_input_names=[part for part in tokenizer.model_input_names if part != "bbox"],
        padding_side=tokenizer.padding_side,
        **tokenizer.special_tokens_map,
        **kept,
    )
