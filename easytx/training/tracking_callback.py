"""What a training tells its run: at each log line, each evaluation and each checkpoint, and at no step between."""

from __future__ import annotations

import numbers
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from easytx.training.tracking import Tracker
from easytx.training.tracking_mode import watched
from easytx.training.tracking_weights import histograms

# The Trainer's totals, which stand in the summary.
_TOTALS = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos"}

# Steps between two looks at the weights, at least.
_WATCH_STEPS = 100


class RunReporter(TrainerCallback):
    """Sends what the Trainer logs to a run, under its names and under the plain ones of older scripts.

    Args:
        tracker: The run.
        rows: Features in an epoch.
        tokens: Tokens in an epoch, without padding.
        checkpoint: Called with the folder of each checkpoint and its aliases; None keeps them to this machine.
        evaluates: Whether there is evaluation while training, which logs `train_loss` itself.
    """

    def __init__(
        self,
        tracker: Tracker,
        *,
        rows: int,
        tokens: int,
        checkpoint: Callable[[Path, list[str]], None] | None,
        evaluates: bool,
    ) -> None:
        self.tracker = tracker
        self.rows, self.tokens = rows, tokens
        self.checkpoint = checkpoint
        self.evaluates = evaluates
        self.since: tuple[float, float] | None = None
        self.watches = watched()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._start_clock(state)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Every so often send what WANDB_WATCH asks for, while the gradients are there."""
        if self.watches is None or not self.tracker.is_on or state.global_step % max(_WATCH_STEPS, state.logging_steps):
            return
        with self.tracker.guard("gradients and parameters"):
            found = histograms(kwargs["model"], self.watches)
            self.tracker.global_step = state.global_step + 1
            self.tracker.log(found, what="gradients and parameters")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Send the loss and what stands beside it."""
        logs = logs or {}
        self.tracker.global_step = state.global_step
        if "loss" in logs:
            row = {f"train/{name}": value for name, value in logs.items()} | self._throughput(state)
            plain = {"Training loss": logs["loss"], "global_step": state.global_step}
            if "learning_rate" in logs:
                plain["lr"] = logs["learning_rate"]
            self.tracker.log(row | plain)
            self._start_clock(state)
        elif "train_runtime" in logs:
            self.tracker.summarise({name: value for name, value in logs.items() if name in _TOTALS})
            if not self.evaluates:
                self.tracker.log({"train_loss": logs["train_loss"]})

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave the time of an evaluation out of the throughput."""
        self._start_clock(state)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Send the checkpoint where that is wanted."""
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if self.checkpoint is not None and self.tracker.is_on:
            aliases = [f"epoch_{round(state.epoch or 0, 2)}", f"checkpoint_global_step_{state.global_step}"]
            self.checkpoint(folder, aliases)
        self._start_clock(state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note how far training came."""
        self.tracker.global_step = state.global_step

    def _start_clock(self, state: TrainerState) -> None:
        self.since = (time.perf_counter(), state.epoch or 0.0)

    def _throughput(self, state: TrainerState) -> dict[str, float]:
        if self.since is None:
            return {}
        seconds = time.perf_counter() - self.since[0]
        epochs = (state.epoch or 0.0) - self.since[1]
        if seconds <= 0 or epochs <= 0:
            return {}
        return {
            "train/examples_per_second": epochs * self.rows / seconds,
            "train/tokens_per_second": epochs * self.tokens / seconds,
        }


def scalars(result: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the numbers among scores twice: under the Trainer's names, `eval/mcc`, and under their own.

    Args:
        result: Scores, and whatever custom metrics gave.
        prefix: "eval" for evaluations while training, "test" for those after it.
    """
    plain = numeric(result)
    return {f"{prefix}/{name.removeprefix('eval_')}": value for name, value in plain.items()} | plain


def numeric(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores that are numbers."""
    return {name: float(v) for name, v in result.items() if isinstance(v, numbers.Real) and not isinstance(v, bool)}
