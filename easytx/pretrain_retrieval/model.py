"""Two encoders, pre-trained for retrieval on passages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from datasets import Dataset
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.data.checks import texts_of
from easytx.data.frames import Columns, as_texts
from easytx.errors import ArgumentError
from easytx.pretrain_retrieval.cloze import ClozeCollator, cloze_texts
from easytx.retrieval import RetrievalModel
from easytx.retrieval.towers import CONTEXT, QUERY


class PretrainRetrievalModel(RetrievalModel):
    """Learn retrieval from passages alone: each is to be found by a piece that was taken out of it.

    Its folder opens as a `RetrievalModel` too, which queries and their passages then teach the rest.

    Example:
        >>> model = PretrainRetrievalModel("starter", args={"tie_encoders": True, "no_save": True})
        >>> passages = ["Hold the key until the lamp is green.", "The lamp is red while the battery is low."]
        >>> steps, _ = model.train_model(passages)
        >>> model.predict(["red lamp"]).doc_ids.shape
        (1, 2)
    """

    columns: Columns = Columns(
        texts=(("passages",), ("gold_passage",), ("query_text", "gold_passage")),
        labels=(),
        optional=RetrievalModel.columns.optional,
    )
    kin: ClassVar[tuple[str, ...]] = ("RetrievalModel",)

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        context_encoder_name: str | Path | None = None,
        query_encoder_name: str | Path | None = None,
        context_encoder_tokenizer: str | None = None,
        query_encoder_tokenizer: str | None = None,
        prediction_passages: Any = None,
        args: Mapping[str, Any] | ModelArgs | None = None,
        use_cuda: bool | None = None,
        cuda_device: int = -1,
        **kwargs: Any,
    ) -> None:
        """Take what `RetrievalModel` takes; a folder of that class may be trained on.

        Args:
            model_type: As for `RetrievalModel`.
            model_name: As for `RetrievalModel`.
            context_encoder_name: As for `RetrievalModel`.
            query_encoder_name: As for `RetrievalModel`.
            context_encoder_tokenizer: As for `RetrievalModel`.
            query_encoder_tokenizer: As for `RetrievalModel`.
            prediction_passages: As for `RetrievalModel`.
            args: Arguments as a dict or `RetrievalArgs`.
            use_cuda: As for `CheckpointedModel`.
            cuda_device: As for `CheckpointedModel`.
            **kwargs: As for `CheckpointedModel`.
        """
        super().__init__(
            model_type,
            model_name,
            context_encoder_name,
            query_encoder_name,
            context_encoder_tokenizer,
            query_encoder_tokenizer,
            prediction_passages=prediction_passages,
            args=args,
            use_cuda=use_cuda,
            cuda_device=cuda_device,
            **kwargs,
        )

    @override
    def read(self, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> pd.DataFrame:
        if split == "predict":
            return as_texts(rows, RetrievalModel.columns, name=name, args=self.args, renames=renames)
        frame = as_texts(rows, self.columns, name=name, args=self.args, renames=renames)
        if split == "eval" and "query_text" in self.columns.texts_in(frame):
            return frame
        passages = texts_of(frame, "passages" if "passages" in frame else "gold_passage", name=name)
        if split == "eval":
            queries, rests = cloze_texts(passages, self.args)
            return frame.assign(query_text=queries, gold_passage=rests)
        # What cannot be is said before weights are loaded.
        self.collator()
        if self.teacher is not None:
            raise ArgumentError(
                "A teacher cannot score pieces of passages that are drawn anew each time: train a RetrievalModel from "
                "this one's folder, with queries and teacher_model_name."
            )
        return frame.assign(query_text=passages, gold_passage=passages)

    @override
    def tokenised(self, part: str, texts: list[list[str]], *, split: str, name: str, warns: bool = True) -> Dataset:
        # While training the same texts are read as passages too, and what is cut of them is said there.
        warns = warns and (part, split) != (QUERY, "train")
        return super().tokenised(part, texts, split=split, name=name, warns=warns)

    @override
    def collator(self) -> ClozeCollator:
        return ClozeCollator(self.towers[QUERY].tokenizer, self.towers[CONTEXT].tokenizer, self.args)
