"""What training and evaluation of a language model do with texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from datasets import Dataset
from typing_extensions import override

from easytx.core.calls import Metric
from easytx.core.results import Scores
from easytx.data.frames import Columns
from easytx.data.prepared import TaskData
from easytx.data.tokenise import column
from easytx.errors import ArgumentError
from easytx.language_modeling import passages, preparing, reading, results
from easytx.language_modeling.checkpoint import LanguageCheckpoint
from easytx.language_modeling.results import TokenScores
from easytx.training.inference import Outputs
from easytx.training.losses import LossFunction


class LanguageTask(LanguageCheckpoint):
    """From texts to blocks, and from what a model says of their tokens to scores."""

    columns: Columns = reading.COLUMNS
    batch_columns: ClassVar[tuple[str, ...]] = ("units",)

    @override
    def eval_model(  # type: ignore[override]
        self,
        eval_data: Any = None,
        output_dir: str | Path | None = None,
        evaluate_generated_text: bool = False,
        verbose: bool = True,
        silent: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Score the model on texts; see `BaseModel.eval_model`. Custom metrics get token numbers, true and predicted.

        `evaluate_generated_text` is refused: there is no true text to compare with.
        """
        if evaluate_generated_text:
            raise ArgumentError(
                "evaluate_generated_text needs true texts, which plain texts do not have. Use predict, and compare."
            )
        return super().eval_model(eval_data, output_dir, verbose, silent, **kwargs)

    @override
    def read(self, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> pd.DataFrame:
        return reading.documents(rows, name=name, args=self.args, renames=renames)

    @override
    def prepared(self, rows: Any, *, name: str, split: str, **options: Any) -> TaskData:
        if split == "train":
            self.take_adapter()
        if split == "train" and self.args["stream_hf_datasets"]:
            return preparing.streamed(self, rows, name=name)
        return super().prepared(rows, name=name, split=split, **options)

    @override
    def prepare(self, frame: pd.DataFrame, split: str, name: str) -> Dataset:
        dataset = preparing.blocks_of(self, passages.documents(self, frame, name=name), split, name)
        if split == "train":
            return dataset
        return self.objective.for_evaluation(self.tokenizer, dataset, self.args["mlm_probability"])

    @override
    def collator(self) -> Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]:
        return self.objective.collator(self.tokenizer, self.args["mlm_probability"])

    @override
    def loss(self) -> LossFunction | None:
        return self.objective.loss(self.args.label_smoothing_factor)

    @override
    def reduce(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        return self.objective.reduce(outputs, batch)

    @override
    def decode(self, outputs: Outputs, data: TaskData) -> TokenScores:
        return results.token_scores(outputs.values, column(data.dataset, "row"))

    @override
    def score(self, answers: TokenScores, data: TaskData, metrics: Mapping[str, Metric]) -> dict[str, Any]:
        return results.scores(answers, metrics)

    @override
    def evaluation(self, result: dict[str, Any], answers: TokenScores, data: TaskData) -> Scores:
        return Scores(result, results.by_document(answers, data))

    @override
    def outputs(self, data: TaskData, *, show: bool) -> Outputs:
        from easytx.core.running import run_model, token_budget

        budget = token_budget(self.args, self.device.type, len(self.tokenizer))
        return run_model(self, data, show=show and not self.args.silent, budget=budget)
