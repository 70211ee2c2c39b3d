"""Texts as vectors."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from datasets import Dataset
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.core.base_model import BaseModel
from easytx.core.results import Prediction
from easytx.core.running import run_network
from easytx.data.checks import texts_of
from easytx.data.frames import Columns
from easytx.data.padding import RightPadding
from easytx.data.prepared import TaskData
from easytx.data.tokenise import lengths_of
from easytx.errors import ArgumentError
from easytx.language_representation.combining import Combination
from easytx.training.inference import Outputs


class RepresentationModel(BaseModel):
    """Turn texts into vectors, with any encoder or decoder and without training.

    Example:
        >>> model = RepresentationModel("starter")
        >>> vectors = model.encode_sentences(["A first text", "Another one"], combine_strategy="mean")
        >>> vectors.shape
        (2, 384)
    """

    args_class: ClassVar[type[ModelArgs]] = ModelArgs
    auto_class: ClassVar[str] = "AutoModel"
    columns: Columns = Columns(labels=())
    predict_options: ClassVar[tuple[str, ...]] = ("combine_strategy", "batch_size", "normalize")
    opens_any: ClassVar[bool] = True
    only_predicts: ClassVar[str] = (
        "Train a RetrievalModel for vectors to search with, or a ClassificationModel where there are labels; "
        "the folder of either's encoder opens here."
    )

    def encode_sentences(
        self,
        text_list: Any,
        combine_strategy: str | int | None = None,
        batch_size: int | None = None,
        *,
        normalize: bool = False,
        as_frame: bool = False,
    ) -> Any:
        """Return the vectors of texts. Those of one text do not depend on what it shares a batch with.

        Args:
            text_list: What `predict` takes.
            combine_strategy: "mean" and "max" over the tokens of a text; "cls" for the token that stands for all of
                it; a number for the token at that place, -1 for the last; None for every token, of shape (rows,
                tokens, width); "concat" for these in one line, of shape (rows, tokens x width). With the last two,
                texts shorter than the longest end in zeros.
            batch_size: Texts of a batch at most; None leaves it to `eval_batch_size`, or to the device.
            normalize: Whether each vector gets length 1.
            as_frame: Return a DataFrame, one column per dimension, under the index of the texts.

        Raises:
            ArgumentError: If there is no such strategy, or a frame is wanted of vectors per token.
            DataError: If texts are missing, or too short for the token that is asked for.
        """
        if as_frame and combine_strategy is None:
            raise ArgumentError("as_frame needs one vector per text: give a combine_strategy, such as 'mean'.")
        options = {"combine_strategy": combine_strategy, "batch_size": batch_size, "normalize": normalize}
        vectors, data = self.answered(text_list, options)
        return pd.DataFrame(vectors, index=data.frame.index) if as_frame else vectors

    @override
    def prepare(self, frame: pd.DataFrame, split: str, name: str) -> Dataset:
        texts = [texts_of(frame, text, name=name) for text in self.columns.texts_in(frame)]
        return self.encoded(texts, overlap=None, split=split, name=name)

    @override
    def outputs(self, data: TaskData, *, show: bool) -> Outputs:
        combination = self._combination(data)
        combination.check(lengths_of(data.dataset), name=data.name)
        rows = data.options.get("batch_size")
        if rows is not None and rows < 1:
            raise ArgumentError(f"batch_size must be at least 1, but is {rows}.")
        return run_network(
            self,
            self.model.get_encoder() if self.config.is_encoder_decoder else self.model,
            data.dataset,
            collator=RightPadding(self.tokenizer.pad_token_id),
            reduce=combination.reduce,
            show=show and not self.args.silent,
            rows=rows,
        )

    @override
    def decode(self, outputs: Outputs, data: TaskData) -> np.ndarray:
        return self._combination(data).collect(outputs.values)

    @override
    def prediction(self, answers: np.ndarray, data: TaskData) -> Prediction:
        return Prediction(answers, answers, data.frame.assign(prediction=list(answers)))

    def _combination(self, data: TaskData) -> Combination:
        return Combination(
            data.options.get("combine_strategy", "mean"),
            bool(data.options.get("normalize", False)),
            self.tokenizer.cls_token_id,
        )
