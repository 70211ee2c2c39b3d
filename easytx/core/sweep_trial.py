"""One trial of a sweep: a model made, configured, trained and scored, whatever becomes of it."""

from __future__ import annotations

import contextlib
import difflib
import gc
import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from easytx.config.fields import closest, names_of
from easytx.config.renamed import RENAMED
from easytx.config.warn import warn_user
from easytx.core.base_model import BaseModel
from easytx.core.sweep_plan import Plan
from easytx.errors import ArgumentError, MissingExtraError, OutputDirError

logger = logging.getLogger(__name__)

# What the checkpoint is opened with; changed afterwards, these would be told wrongly.
_SETTLED = {"model_class", "model_name", "model_type", "tokenizer_name", "tokenizer_type"}

Report = Callable[[float, int], bool]


class SweepError(ArgumentError):
    """Something that would go wrong in each further trial as well."""


# With these a sweep ends, because the next trial could fare no better.
FATAL = (MissingExtraError, OutputDirError, SweepError)


@dataclass
class Trial:
    """What became of one trial.

    Attributes:
        number: Counted from 0.
        params: The values it was given.
        state: "finished", "pruned" or "failed".
        score: The metric; of a pruned trial, at its last evaluation.
        seconds: How long it took.
        error: Why it failed.
        folder: Where its model is; None where nothing is saved.
    """

    number: int
    params: dict[str, Any]
    state: str = "failed"
    score: float | None = None
    seconds: float = 0.0
    error: str | None = None
    folder: str | None = None


@dataclass
class Trials:
    """Runs trials, each on a model of its own.

    Attributes:
        make_model: Returns a new model for the values of a trial.
        train: The rows to train on.
        evaluation: The rows to score on.
        plan: What the sweep is after.
        options: Custom metrics and column names.
        seed: What trainings without a seed of their own start from.
    """

    make_model: Callable[[dict[str, Any]], BaseModel]
    train: Any
    evaluation: Any
    plan: Plan
    options: Mapping[str, Any]
    seed: int | None

    def run(
        self,
        number: int,
        params: Mapping[str, Any],
        *,
        report: Report | None = None,
        args: Mapping[str, Any] | None = None,
        ended: Callable[[BaseException], bool] | None = None,
    ) -> Trial:
        """Return what became of a trial with these values; its failure is part of that, and raises nothing.

        Args:
            number: Which trial it is.
            params: Its values.
            report: Takes score and number of each evaluation while training, and tells whether to end the trial.
            args: Further arguments for the model.
            ended: Tells whether an error is no failure, but the way in which somebody else ends a trial.

        Raises:
            SweepError: For what would go wrong in each trial.
        """
        trial = Trial(number, dict(params))
        with _Recording(trial, ended):
            self._run(trial, report, args or {})
        gc.collect()
        torch.cuda.empty_cache()
        logger.info("trial %d %s: %s, %s = %s", number, trial.state, trial.params, self.plan.metric, trial.score)
        return trial

    def _run(self, trial: Trial, report: Report | None, args: Mapping[str, Any]) -> None:
        model = self.make_model(dict(trial.params))
        self._configure(model, trial, args)
        watcher = _Watcher(self.plan.metric, report)
        held_out = self.evaluation if model.args.evaluate_during_training else None
        training = model.train_model(self.train, eval_df=held_out, callbacks=[watcher], **self.options)
        if watcher.pruned:
            trial.state, trial.score = "pruned", watcher.score
            return
        with _folder(trial.folder) as folder:
            model.eval_model(self.evaluation, output_dir=folder, silent=True, **self.options)
        details = training.training_details
        loss = details["train_loss"][-1] if isinstance(details, dict) else details
        score = score_of(self.plan.metric, {"train_loss": loss, **model.results})
        if math.isnan(score):
            trial.error = f"{self.plan.metric} is not a number."
        else:
            trial.state, trial.score = "finished", score

    def _configure(self, model: BaseModel, trial: Trial, args: Mapping[str, Any]) -> None:
        """Give a model the trial's values, and a place of its own for what it writes."""
        if not isinstance(model, BaseModel):
            raise SweepError(f"make_model must return a model of easytx, but returned {model!r}.")
        if model.trained:
            raise SweepError("make_model must return a new model each time, but returned one that has been trained.")
        known = names_of(model.args_class)
        own = {name: value for name, value in trial.params.items() if name in known or name in RENAMED}
        if trial.number == 0:
            _warn_about_misspelt(set(trial.params) - set(own), known)
        chosen = {**args, **{name: value for name, value in own.items() if name not in _SETTLED}}
        if self.seed is not None and model.args.manual_seed is None:
            chosen.setdefault("manual_seed", self.seed)
        if self.plan.hyperband is not None:
            chosen["evaluate_during_training"] = True
        settings = model.args.merged(chosen)
        place = f"trial-{trial.number}"
        places = {"output_dir": str(Path(settings.output_dir) / place)}
        if settings.is_set("best_model_dir"):
            places["best_model_dir"] = str(Path(settings.best_model_dir) / place)
        if settings.tensorboard_dir:
            places["tensorboard_dir"] = str(Path(settings.tensorboard_dir) / place)
        model.args = settings.merged(places)
        if settings.wandb_project:
            shared = {"group": self.plan.name, "name": place}
            model.args = model.args.merged({"wandb_kwargs": {**shared, **settings.wandb_kwargs}})
        trial.folder = None if settings.no_save else places["output_dir"]


def score_of(metric: str, scores: Mapping[str, Any]) -> float:
    """Return the score of this name, with or without the prefix that trackers give the scores of an evaluation.

    Raises:
        SweepError: If there is none.
    """
    plain = metric.removeprefix("eval/").removeprefix("eval_")
    for name in (metric, plain, f"eval_{plain}"):
        if name in scores:
            return float(scores[name])
    raise SweepError(
        f"The sweep's metric is '{metric}', but an evaluation here gives {sorted(scores)}.{closest(metric, scores)}"
    )


class _Recording(contextlib.AbstractContextManager[None]):
    """Notes what a block took, and the error it ended with instead of passing that on."""

    def __init__(self, trial: Trial, ended: Callable[[BaseException], bool] | None) -> None:
        self.trial, self.ended = trial, ended
        self.started = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        trial = self.trial
        trial.seconds = time.monotonic() - self.started
        if error is None or not isinstance(error, Exception) or isinstance(error, FATAL):
            return False
        if self.ended is not None and self.ended(error):
            trial.state = "pruned"
            return True
        trial.error = f"{type(error).__name__}: {error}"
        warn_user(f"Trial {trial.number} of the sweep failed with {trial.params}: {trial.error}")
        logger.debug("trial %d failed", trial.number, exc_info=error)
        return True


class _Watcher(TrainerCallback):
    """Reports each evaluation while training, and stops the training where the report says so."""

    def __init__(self, metric: str, report: Report | None) -> None:
        self.metric, self.report = metric, report
        self.evaluations = 0
        self.score: float | None = None
        self.pruned = False

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> TrainerControl:
        if self.report is None:
            return control
        losses = [line["loss"] for line in state.log_history if "loss" in line]
        own = {name.removeprefix("eval_"): value for name, value in (metrics or {}).items()}
        self.evaluations += 1
        self.score = score_of(self.metric, {"train_loss": losses[-1] if losses else math.nan, **own})
        if self.report(self.score, self.evaluations):
            self.pruned = control.should_training_stop = True
        return control


@contextlib.contextmanager
def _folder(folder: str | None) -> Iterator[str]:
    """Give the folder, or where nothing is to be kept one that is gone afterwards."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as passing:
        yield passing


def _warn_about_misspelt(others: set[str], known: Iterable[str]) -> None:
    for name in sorted(others):
        # Only all but the same: names of the caller's own are meant to be used.
        near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.85)
        if near:
            warn_user(
                f"The sweep's parameter '{name}' is no argument; only make_model gets it. Did you mean '{near[0]}'?"
            )
