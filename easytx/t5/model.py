"""One text from another, with the task named in front of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.core.calls import Metric
from easytx.core.generative_model import TextAnswers
from easytx.data.checks import texts_of
from easytx.data.frames import Columns
from easytx.data.prepared import TaskData
from easytx.seq2seq.model import Seq2SeqModel
from easytx.t5 import reranking
from easytx.t5.args import T5Args
from easytx.t5.reranking import RankedAnswers
from easytx.training.inference import Outputs


class T5Model(Seq2SeqModel):
    """Turn one text into another with T5, mT5, ByT5 or FLAN-T5; a prefix says which task a row is of.

    Example:
        >>> model = T5Model("t5", "google-t5/t5-small")
        >>> model.train_model(train_df)  # columns prefix, input_text and target_text
        >>> model.predict(["translate English to German: Where is the station?"])
        ['Wo ist der Bahnhof?']
    """

    args_class: ClassVar[type[ModelArgs]] = T5Args
    columns: Columns = Columns(
        texts=(("input_text",), ("prefix", "input_text")),
        labels=("target_text",),
        optional=("query_text", "passage", "labels"),
    )

    rerank = reranking.rerank

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        args: Mapping[str, Any] | ModelArgs | None = None,
        tokenizer: Any = None,
        use_cuda: bool | None = None,
        cuda_device: int = -1,
        **kwargs: Any,
    ) -> None:
        """See `Seq2SeqModel`; with a tokenizer and no model name, the model is made from scratch."""
        given = {"args": args, "use_cuda": use_cuda, "cuda_device": cuda_device, **kwargs}
        super().__init__(model_type, model_name, tokenizer=tokenizer, **given)

    @override
    def inputs(self, frame: pd.DataFrame, name: str) -> list[str]:
        texts = super().inputs(frame, name)
        if not self.args["add_prefix"] or "prefix" not in frame:
            return texts
        between = ": " if self.args["preprocess_inputs"] else ""
        prefixes = texts_of(frame, "prefix", name=name)
        return [prefix + between + text for prefix, text in zip(prefixes, texts, strict=True)]

    @override
    def predict(self, to_predict: Any, reranking_eval: bool = False, **kwargs: Any) -> Any:
        """Answer for each row, in order.

        Args:
            to_predict: As for `Seq2SeqModel`; with `as_reranker` also pairs of a query and a passage.
            reranking_eval: True returns the score of each row as `rerank` has it, of shape (rows,), instead of texts.
            **kwargs: As for `Seq2SeqModel`.

        Raises:
            DataError: If the rows have another form, or there are none.
        """
        if not reranking_eval:
            return super().predict(to_predict, **kwargs)
        reranking.words_of(self)
        call = self._call("predict", kwargs, data=to_predict)
        data = self.prepared(call.data, name="to_predict", split="predict", renames=call.renames)
        return reranking.relevance(self, data)

    @override
    def read(self, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> pd.DataFrame:
        if reranking.are_pairs(self, rows, renames):
            return reranking.read_pairs(self, rows, name=name, split=split, renames=renames)
        return super().read(rows, name=name, split=split, renames=renames)

    @override
    def reduce(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        losses = super().reduce(outputs, batch)
        if not self.args["as_reranker"]:
            return losses
        return torch.cat([losses, reranking.words_of(self).odds(outputs.logits)[:, None]], dim=1)

    @override
    def decode(self, outputs: Outputs, data: TaskData) -> TextAnswers:
        if not outputs.values or not self.args["as_reranker"]:
            return super().decode(outputs, data)
        values = np.array(outputs.values)
        answers = super().decode(replace(outputs, values=[*values[:, :-1]]), data)
        return RankedAnswers(answers.texts, answers.tokens, answers.losses, relevance=values[:, -1])

    @override
    def score(self, answers: TextAnswers, data: TaskData, metrics: Mapping[str, Metric]) -> dict[str, Any]:
        return {**super().score(answers, data, metrics), **reranking.scores_of_ranking(answers, data)}
