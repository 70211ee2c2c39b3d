"""Models that read where on a page each word stands, besides the words: LayoutLM, LiLT and their kin."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from typing_extensions import override

from easytx.config.warn import warn_user
from easytx.core.labelled import LabelledModel
from easytx.data.boxes import BOX, PAGE, boxes_of, with_boxes
from easytx.data.padding import TokenColumns
from easytx.data.tokenise import read_by_word
from easytx.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

_IMAGES = {"image", "pixel_values"}


class LayoutModel(LabelledModel):
    """A class whose network may be one that takes a box for each token.

    Its rows need the columns x0, y0, x1 and y1 then, with one number for each word.
    """

    gives_boxes: ClassVar[bool] = True

    @override
    def load_config(self, model_type: str | None) -> Any:
        config = super().load_config(model_type)
        if reads_boxes(self.auto_class, config, name=self._name):
            self.reads_boxes = True
            self.columns = dataclasses.replace(self.columns, texts=self.columns.texts[:1], beside=BOX)
            self.tokenizer_options = {**self.tokenizer_options, "add_prefix_space": True}
        return config

    @override
    def load_tokenizer(self) -> Any:
        tokenizer = super().load_tokenizer()
        return read_by_word(_without_boxes(tokenizer)) if self.reads_boxes else tokenizer

    @override
    def collator(self) -> Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]:
        return self.with_box_padding(super().collator())

    @override
    def compared(self, frame: pd.DataFrame) -> pd.DataFrame:
        texts = super().compared(frame)
        boxes = {part: frame[part].astype(str) for part in self.columns.beside if part in frame}
        return texts.assign(**boxes)

    def as_read(self, texts: list[list[str]]) -> list[list[Any]]:
        """Return texts as they are, or as words where the network reads boxes of these."""
        return [[text.split() for text in part] for part in texts] if self.reads_boxes else texts

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
        if self.reads_boxes:
            return boxes_of(frame, words, name=name, row=row, page=self._page)
        if all(part in frame for part in BOX):
            warn_user(
                f"{name} has the columns {list(BOX)}, but the model's type is {self.config.model_type}, which does not "
                "read where words stand on a page; they are not used. Models of the types layoutlm and lilt read them."
            )
        return []

    def placed(self, dataset: Dataset, boxes: Sequence[np.ndarray]) -> Dataset:
        """Return features with the boxes of their tokens, where the network reads these.

        The first token of a text lies at [0, 0, 0, 0] and the one that ends it at [1000, 1000, 1000, 1000], as
        LayoutLM was trained, unless the tokenizer says that its model was trained otherwise.
        """
        if not self.reads_boxes:
            return dataset
        said = self.tokenizer.init_kwargs
        corners = {"cls_token": [0] * 4, "sep_token": [self._page] * 4}
        ends = {getattr(self.tokenizer, f"{token}_id"): said.get(f"{token}_box", box) for token, box in corners.items()}
        return with_boxes(dataset, boxes, ends=ends)

    def with_box_padding(
        self, pad: Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]
    ) -> Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]:
        """Return a collator that pads boxes too, where the network reads these."""
        return TokenColumns(pad, bbox=len(BOX)) if self.reads_boxes else pad

    @property
    def _page(self) -> int:
        return min(PAGE, int(self.config.max_2d_position_embeddings) - 1)


def reads_boxes(auto_class: str, config: Any, *, name: str) -> bool:
    """Tell whether a network takes a box for each token.

    Args:
        auto_class: The Auto class of the network.
        config: Its configuration.
        name: What to call it in messages.

    Raises:
        CheckpointError: If it takes an image of the page as well.
    """
    if not hasattr(config, "max_2d_position_embeddings"):
        return False
    inputs = network_inputs(auto_class, config)
    if inputs & _IMAGES:
        raise CheckpointError(
            f"'{name}' is a {config.model_type} model, which reads an image of each page besides its words. "
            "Use a layoutlm or lilt model: these read words and their boxes."
        )
    return "bbox" in inputs


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
