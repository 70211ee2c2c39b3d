"""`transformers.pipeline` in the race, at the batch size that serves it best."""

from __future__ import annotations

from typing import Any

import torch
from race_clock import Run, lap
from race_work import Work

_SIZES = (1, 8, 16, 32, 64, 256)

# Rows that the batch sizes are tried on.
_TRIED = 200


class BestPipeline:
    """A text-classification pipeline.

    Attributes:
        batch_size: The fastest of those tried.
        answers: The classes of the last prediction.
    """

    def __init__(self, work: Work, folder: str, device: torch.device, dtype: torch.dtype | None) -> None:
        from transformers import pipeline

        self.inputs = [dict(zip(("text", "text_pair"), row["texts"], strict=False)) for row in work.held_out]
        self.pipe = pipeline(
            "text-classification", model=folder, device=device, dtype=dtype or torch.float32,
            tokenizer_kwargs={"model_max_length": work.max_length},
        )  # fmt: skip
        self.options: dict[str, Any] = {"truncation": True, "max_length": work.max_length}
        self.answers: list[int] = []
        tried = self.inputs[:_TRIED]
        self.batch_size = max(_SIZES, key=lambda size: self._run(tried, size).speed)

    def predict(self) -> Run:
        """Predict the held-out rows."""
        return self._run(self.inputs, self.batch_size)

    def _run(self, inputs: list[dict[str, str]], batch_size: int) -> Run:
        with lap() as call:
            found = self.pipe(inputs, batch_size=batch_size, **self.options)
        names = self.pipe.model.config.label2id
        self.answers = [names[answer["label"]] for answer in found]
        return Run(call.seconds, len(inputs))
