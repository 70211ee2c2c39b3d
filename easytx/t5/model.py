"""One text from another, with the task named in front of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.data.checks import texts_of
from easytx.data.frames import Columns
from easytx.t5.args import T5Args
from easytx.t5.reranking import RerankingModel


class T5Model(RerankingModel):
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
