"""What happens beside the steps: the evaluation schedule, the history, the best model, early stopping."""

from __future__ import annotations

import copy
import csv
import json
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from easytx.config.fields import closest
from easytx.config.model_args import ModelArgs
from easytx.config.warn import warn_user
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
    """Asks for evaluations and checkpoints at epoch ends, and gives the sampler the epoch.

    What has been done at a step, for whatever reason, is not done at the same step again.
    """

    def __init__(self, args: ModelArgs, *, evaluates: bool, set_epoch: Callable[[int], None]) -> None:
        self.evaluates = evaluates and (args.evaluate_each_epoch or args.evaluate_during_training_steps <= 0)
        self.saves = args.save_model_every_epoch and not args.no_save
        self.saves_evaluations = args.save_eval_checkpoints and not args.no_save
        self.set_epoch = set_epoch
        self.evaluated_at = -1
        self.saved_at = -1
        self.at_epoch_end = False

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.set_epoch(math.floor((state.epoch or 0.0) + 1e-6))
        self.at_epoch_end = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        # So that each evaluation stands beside the loss of the steps before it.
        control.should_log = control.should_log or control.should_evaluate
        return control

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self.evaluated_at = state.global_step
        control.should_save = control.should_save or (self.saves_evaluations and self.saved_at != state.global_step)
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.saved_at = state.global_step

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self.at_epoch_end = True
        control.should_evaluate = self.evaluates and self.evaluated_at != state.global_step
        control.should_log = control.should_log or control.should_evaluate
        control.should_save = control.should_save or (self.saves and self.saved_at != state.global_step)
        return control


class _Remembering(TrainerCallback, ExportableState):
    """A callback whose attributes are kept in checkpoints, under its class's name, as JSON."""

    remembered: ClassVar[dict[str, Any]]

    def __init__(self) -> None:
        self._set(self.remembered)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        kept = {name: getattr(self, name) for name in self.remembered}
        return {"args": {}, "attributes": json.loads(json.dumps(kept, default=as_json))}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        callbacks: Any = state.stateful_callbacks
        kept = callbacks.get(type(self).__name__) if state.global_step else None
        self._set(kept["attributes"] if isinstance(kept, dict) else self.remembered)

    def _set(self, values: Mapping[str, Any]) -> None:
        for name in self.remembered:
            setattr(self, name, copy.deepcopy(values[name]))


class History(_Remembering):
    """Keeps every evaluation while training, and writes `training_progress_scores.csv` and its JSON twin.

    Attributes:
        scores: Name -> one value per evaluation, `global_step` and `train_loss` first.
        order: The names in their order, which a checkpoint's JSON does not keep.
        last_loss: Mean loss over the steps between the last two log lines.
    """

    remembered: ClassVar[dict[str, Any]] = {"scores": {}, "order": [], "last_loss": math.nan}
    scores: dict[str, list[Any]]
    order: list[str]
    last_loss: float

    def __init__(self, output_dir: Path | None, *, verbose: bool) -> None:
        super().__init__()
        self.output_dir = output_dir
        self.verbose = verbose

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        self.scores = {name: self.scores[name] for name in self.order}

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.last_loss = (logs or {}).get("loss", self.last_loss)

    def add(self, step: int, result: Mapping[str, Any]) -> None:
        """Add the scores of one evaluation; a score that other evaluations do not have is None there."""
        row = {"global_step": step, "train_loss": self.last_loss, **result}
        before = len(self.scores.get("global_step", []))
        for name in [*self.scores, *(name for name in row if name not in self.scores)]:
            self.scores.setdefault(name, [None] * before).append(row.get(name))
        self.order = list(self.scores)
        if self.verbose:
            logger.info("step %d: %s", step, dict(result))
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
        path.write_text(json.dumps(records, indent=2, default=as_json) + "\n", encoding="utf-8")


class BestModel(_Remembering):
    """Notices the best evaluation, has its weights saved, and stops when there is no more improvement.

    The best is the best by any margin. What counts against the patience is to be no better, by more than
    `early_stopping_delta`, than the last evaluation that was.

    Attributes:
        best: The scores of the best evaluation.
        best_step: When that was.
        reference: The score to be better than.
        waited: Evaluations since there was one better than that.
    """

    remembered: ClassVar[dict[str, Any]] = {"best": None, "best_step": None, "reference": None, "waited": 0}
    best: dict[str, Any] | None
    best_step: int | None
    reference: float | None
    waited: int

    def __init__(
        self,
        args: ModelArgs,
        *,
        save: Callable[[dict[str, Any]], None] | None,
        is_saved: Callable[[dict[str, Any]], bool] | None = None,
    ) -> None:
        """Take the arguments.

        Args:
            args: The metric, its direction, delta and patience.
            save: Saves the weights that have these scores; None where they are not to be saved.
            is_saved: Tells, after a resumption, whether the weights that had these scores are still saved.
        """
        super().__init__()
        self.metric = args.early_stopping_metric
        self.sign = 1.0 if args.early_stopping_metric_minimize else -1.0
        self.delta = args.early_stopping_delta
        self.patience = args.early_stopping_patience if args.use_early_stopping else None
        self.consider_epochs = args.early_stopping_consider_epochs or args.evaluate_during_training_steps <= 0
        self.save = save
        self.is_saved = is_saved

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        if self.best is None or self.save is None or (self.is_saved is not None and self.is_saved(self.best)):
            return
        if self.best_step == state.global_step:
            self.save(self.best)
        else:
            warn_user(
                f"The best model so far, of step {self.best_step}, is not where it was saved. The best from here on "
                "will be taken instead."
            )
            self.best = self.best_step = None

    def add(self, step: int, result: Mapping[str, Any], control: TrainerControl, *, at_epoch_end: bool) -> None:
        """Judge one evaluation.

        Raises:
            ArgumentError: If the result does not have the metric.
        """
        if self.metric not in result:
            raise ArgumentError(
                f"early_stopping_metric is '{self.metric}', but an evaluation here gives {sorted(result)}."
                f"{closest(self.metric, result)}"
            )
        value = float(result[self.metric])
        if math.isnan(value):
            logger.warning("step %d: %s is not a number, which is no improvement.", step, self.metric)
        if self._is_better(value, None if self.best is None else float(self.best[self.metric]), 0.0):
            self.best, self.best_step = dict(result), step
            if self.save is not None:
                self.save(self.best)
        if self._is_better(value, self.reference, self.delta):
            self.reference, self.waited = value, 0
        elif self.patience is not None and (self.consider_epochs or not at_epoch_end):
            self.waited += 1
            if self.waited >= self.patience:
                logger.info("%s has not improved for %d evaluations; training stops.", self.metric, self.waited)
                control.should_training_stop = True

    def _is_better(self, value: float, than: float | None, delta: float) -> bool:
        if than is None:
            return not math.isnan(value)
        return self.sign * (than - value) > delta


def as_json(value: Any) -> Any:
    """Return what a custom metric gave, an array for example, as something JSON can hold."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
