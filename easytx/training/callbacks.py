"""What happens beside the steps: the evaluation schedule, the history, the best model, early stopping."""

from __future__ import annotations

import csv
import json
import logging
import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError

logger = logging.getLogger(__name__)


class Bar(ProgressCallback):
    """One bar over the steps, in terminal and notebook, with the running loss behind it."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self.training_bar is not None and logs and "loss" in logs:
            self.training_bar.set_postfix(loss=f"{float(logs['loss']):.4f}", refresh=False)


class EpochSchedule(TrainerCallback):
    """Asks for evaluations and checkpoints at epoch ends, and gives the sampler the epoch."""

    def __init__(self, args: ModelArgs, *, evaluates: bool, set_epoch: Callable[[int], None]) -> None:
        self.evaluates = evaluates and (args.evaluate_each_epoch or args.evaluate_during_training_steps <= 0)
        self.saves = args.save_model_every_epoch and not args.no_save
        self.saves_evaluations = args.save_eval_checkpoints and not args.no_save
        self.set_epoch = set_epoch
        self.evaluated_at = -1
        self.at_epoch_end = False

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.set_epoch(math.floor((state.epoch or 0.0) + 1e-6))
        self.at_epoch_end = False

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self.evaluated_at = state.global_step
        control.should_save = control.should_save or self.saves_evaluations
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self.at_epoch_end = True
        # A step evaluation at the last step of the epoch has just seen the same weights.
        control.should_evaluate = self.evaluates and self.evaluated_at != state.global_step
        control.should_save = control.should_save or self.saves
        return control


class History(TrainerCallback):
    """Keeps every evaluation while training, and writes `training_progress_scores.csv` and its JSON twin."""

    def __init__(self, output_dir: Path | None, *, verbose: bool) -> None:
        self.scores: dict[str, list[Any]] = defaultdict(list)
        self.output_dir = output_dir
        self.verbose = verbose
        self.last_loss = math.nan

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.last_loss = (logs or {}).get("loss", self.last_loss)

    def add(self, step: int, result: dict[str, Any]) -> None:
        """Add the scores of one evaluation."""
        self.scores["global_step"].append(step)
        self.scores["train_loss"].append(self.last_loss)
        for name, value in result.items():
            self.scores[name].append(value)
        if self.verbose:
            logger.info("step %d: %s", step, result)
        if self.output_dir is not None:
            self._write(self.output_dir)

    def _write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        rows = list(zip(*self.scores.values(), strict=True))
        with (folder / "training_progress_scores.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.scores)
            writer.writerows(rows)
        records = [dict(zip(self.scores, row, strict=True)) for row in rows]
        path = folder / "training_progress_scores.json"
        path.write_text(json.dumps(records, indent=2, default=float) + "\n", encoding="utf-8")


class BestModel(TrainerCallback):
    """Notices the best evaluation, has its weights saved, and stops when there is no more improvement.

    Improvement means better than the best so far by more than `early_stopping_delta`.
    """

    def __init__(self, args: ModelArgs, *, save: Callable[[dict[str, Any]], None] | None) -> None:
        self.metric = args.early_stopping_metric
        self.sign = 1.0 if args.early_stopping_metric_minimize else -1.0
        self.delta = args.early_stopping_delta
        self.patience = args.early_stopping_patience if args.use_early_stopping else None
        self.consider_epochs = args.early_stopping_consider_epochs or args.evaluate_during_training_steps <= 0
        self.save = save
        self.best: dict[str, Any] | None = None
        self.best_step: int | None = None
        self.waited = 0

    def add(self, step: int, result: dict[str, Any], control: TrainerControl, *, at_epoch_end: bool) -> None:
        """Judge one evaluation.

        Raises:
            ArgumentError: If the result does not have the metric.
        """
        if self.metric not in result:
            raise ArgumentError(
                f"early_stopping_metric is '{self.metric}', but an evaluation here gives {sorted(result)}."
            )
        value = float(result[self.metric])
        if math.isnan(value):
            logger.warning("step %d: %s is not a number; this evaluation does not count.", step, self.metric)
        elif self.best is None or self.sign * (float(self.best[self.metric]) - value) > self.delta:
            self.best, self.best_step, self.waited = dict(result), step, 0
            if self.save is not None:
                self.save(result)
            return
        if self.patience is None or (at_epoch_end and not self.consider_epochs):
            return
        self.waited += 1
        if self.waited >= self.patience:
            logger.info("%s has not improved for %d evaluations; training stops.", self.metric, self.waited)
            control.should_training_stop = True
