"""What the classes that write texts share: losses of true texts, texts of the model's own, and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from easytx.config.generation import GenerationOptions, GenerativeArgs, generation_kwargs
from easytx.config.model_args import ModelArgs
from easytx.core import loading
from easytx.core.base_model import BaseModel
from easytx.core.calls import Metric, custom_scores
from easytx.core.prompting import check_written
from easytx.core.results import Scores, TextPrediction
from easytx.data.checks import texts_of
from easytx.data.prepared import TaskData
from easytx.metrics.text import check_text_metrics, text_scores
from easytx.training.inference import Outputs
from easytx.training.judged import Judged, judged_texts

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from datasets import Dataset


@dataclass(frozen=True)
class TextOutputs(Outputs):
    """Losses of each row, as `row_losses` gives them, and the ids of its texts.

    Attributes:
        tokens: One list of id arrays per row; None where no texts were wanted.
    """

    tokens: list[list[np.ndarray]] | None = None


@dataclass(frozen=True)
class TextAnswers:
    """What a model writes for each row.

    Attributes:
        texts: One or more texts per row, best first; None where none were wanted.
        tokens: Their ids.
        losses: The mean cross entropy of the tokens of each true text; None without labels.
    """

    texts: list[list[str]] | None
    tokens: list[list[np.ndarray]] | None = None
    losses: np.ndarray | None = None

    def best(self) -> list[str]:
        """Return the best text of each row."""
        return [texts[0] for texts in self.texts or []]


class GenerativeModel(BaseModel):
    """A model class that writes texts.

    To add one: besides what `BaseModel` wants, an `args_class` derived from `GenerativeArgs`, and `target_column`
    where rows have a true text. A decoder whose rows hold more than the prompt overrides `prompts`.
    """

    args_class: ClassVar[type[ModelArgs]] = GenerativeArgs
    target_column: ClassVar[str] = "target_text"

    # The steps

    @override
    def prepared(self, rows: Any, *, split: str, **kwargs: Any) -> TaskData:
        # What cannot be computed is said before anything is.
        generation_kwargs(self.generation_args(labelled=split != "predict"))
        self._check_length()
        if split == "eval" and self.args["evaluate_generated_text"]:
            check_text_metrics(self.args["text_metrics"])
        return super().prepared(rows, split=split, **kwargs)

    @override
    def evaluated(self, data: TaskData, metrics: Mapping[str, Metric], *, show: bool) -> tuple[dict[str, Any], Any]:
        # Custom metrics are functions of texts.
        wanted = self.args["evaluate_generated_text"] or bool(metrics)
        return super().evaluated(replace(data, options={**data.options, "writes": wanted}), metrics, show=show)

    @override
    def outputs(self, data: TaskData, *, show: bool) -> TextOutputs:
        from easytx.core.running import run_model, token_budget

        show = show and not self.args.silent
        found = Outputs([], None)
        if data.labelled:
            budget = token_budget(self.args, self.device.type, len(self.target_tokenizer))
            found = run_model(self, data, show=show, budget=budget)
        wanted = data.options.get("writes", not data.labelled)
        return TextOutputs(found.values, found.loss, self.written(data, show=show) if wanted else None)

    def written(self, data: TaskData, *, show: bool, **extras: Any) -> list[list[np.ndarray]]:
        """Return the ids of the texts that the model writes for each row; `extras` are for its `generate`."""
        from easytx.core.running import write_texts

        options = self.generation_options(labelled=data.labelled)
        return write_texts(self, self.prompts(data), options, show=show, **extras)

    def _check_length(self) -> None:
        """Raise if a model that reads texts apart has no places for the ones to write."""
        args, config = self.args, self.config
        # What writes is called the decoder, or in models that look up passages the generator.
        part = getattr(config, "decoder", None) or getattr(config, "generator", None) or config
        limit = loading.positions(part, written=True)
        if config.is_encoder_decoder and limit is not None:
            what = "max_new_tokens" if args["max_new_tokens"] else "max_length"
            check_written(what, args[what], limit, str(args.model_name))

    def prompts(self, data: TaskData) -> Dataset:
        """Return what texts are written for: rows whose `input_ids` are read by an encoder or continued."""
        return data.dataset

    def generation_args(self, *, labelled: bool) -> GenerationOptions:
        """Return how to write: for labelled rows one text each, as it is compared with one."""
        args: Any = self.args
        return args.merged({"num_return_sequences": 1}) if labelled else args  # type: ignore[no-any-return]

    def generation_options(self, *, labelled: bool) -> dict[str, Any]:
        """Return the fields of the GenerationConfig that are not as the model's own says."""
        options = generation_kwargs(self.generation_args(labelled=labelled))
        return {**options, "pad_token_id": self.target_tokenizer.pad_token_id}

    def texts(self, tokens: Sequence[Sequence[np.ndarray]]) -> list[list[str]]:
        """Return ids as texts."""
        ids = [text.tolist() for text in chain.from_iterable(tokens)]
        flat = iter(self.target_tokenizer.batch_decode(ids, skip_special_tokens=self.args["skip_special_tokens"]))
        return [[next(flat) for _ in row] for row in tokens]

    # The hooks

    @override
    def reduce(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        from easytx.training.generation import row_losses

        return row_losses(outputs.logits, batch["labels"], shifts_labels=self.shifts_labels)

    @override
    def decode(self, outputs: Outputs, data: TaskData) -> TextAnswers:
        losses = np.array([total / max(tokens, 1) for total, tokens in outputs.values]) if outputs.values else None
        tokens = outputs.tokens if isinstance(outputs, TextOutputs) else None
        return TextAnswers(None if tokens is None else self.texts(tokens), tokens, losses)

    @override
    def score(self, answers: TextAnswers, data: TaskData, metrics: Mapping[str, Metric]) -> dict[str, Any]:
        if answers.texts is None:
            return {}
        truth, best = texts_of(data.frame, self.target_column, name=data.name), answers.best()
        wanted = self.args["text_metrics"] if self.args["evaluate_generated_text"] else []
        return {**text_scores(truth, best, wanted), **custom_scores(metrics, truth, best)}

    @override
    def evaluation(self, result: dict[str, Any], answers: TextAnswers, data: TaskData) -> Scores:
        return Scores(result, _with_answers(data.frame, answers, answers.best()))

    @override
    def prediction(self, answers: TextAnswers, data: TaskData) -> TextPrediction:
        texts: list[Any] = answers.best() if self.args["num_return_sequences"] == 1 else answers.texts or []
        return TextPrediction(texts, answers.tokens or [], _with_answers(data.frame, answers, texts))

    @override
    def judged(self, answers: TextAnswers, data: TaskData) -> Judged:
        truth = texts_of(data.frame, self.target_column, name=data.name)
        inputs = {name: data.frame[name].tolist() for name in self.columns.texts_in(data.frame)}
        return judged_texts(inputs, truth, answers.best() or None, answers.losses)


def _with_answers(frame: pd.DataFrame, answers: TextAnswers, texts: Sequence[Any]) -> pd.DataFrame:
    columns: dict[str, Any] = {} if answers.texts is None else {"prediction": list(texts)}
    if answers.losses is not None:
        columns["loss"] = answers.losses
    return frame.assign(**columns)
