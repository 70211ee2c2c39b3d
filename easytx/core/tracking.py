"""What a model class tells a tracker: before training, at each evaluation, and at the end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from easytx.config.model_args import ModelArgs
from easytx.data.prepared import TaskData
from easytx.data.tokenise import lengths_of
from easytx.training.tracking import Tracker, tracked
from easytx.training.tracking_artifacts import fetched, is_artifact, log_folder
from easytx.training.tracking_callback import RunReporter, numeric, scalars
from easytx.training.tracking_config import data_fingerprint, hyperparameters, versions
from easytx.training.tracking_mode import is_open, is_wanted, log_model
from easytx.training.tracking_record import RunRecord
from easytx.training.tracking_tables import log_judgement, log_table

if TYPE_CHECKING:
    import pandas as pd

    from easytx.core.base_model import BaseModel


class TrackedTraining:
    """One training, as its run sees it; does nothing where none is tracked.

    Attributes:
        tracker: Where it is reported; to be set when the run is open.
    """

    def __init__(self, model: BaseModel, train: TaskData, description: Mapping[str, Any]) -> None:
        """Take what is reported.

        Args:
            model: What is trained.
            train: The training rows.
            description: What was chosen: device, precision, seed ...
        """
        self.model, self.train, self.description = model, train, description
        self.tracker = Tracker()
        self.sends = log_model(model.args)
        self.evaluations = 0
        self.scores: dict[str, float] = {}
        self.wrong: pd.DataFrame | None = None
        self.reporter: RunReporter | None = None
        self._configuration: dict[str, Any] = {}

    def configuration(self) -> dict[str, Any]:
        """Return what the run is told at its beginning: arguments, data, labels, versions, and what was chosen."""
        model = self.model
        labels = {} if model.labels is None else {"labels": model.labels.names, "num_labels": len(model.labels)}
        self._configuration = {
            **hyperparameters(model.args),
            **{name: value for name, value in self.description.items() if name != "trackers"},
            **labels,
            **self._data(),
            "num_parameters": model.model.num_parameters(),
            "versions": versions(),
        }
        return self._configuration

    def _data(self) -> dict[str, Any]:
        """Return the size of the training data, and a name for it; nothing of data that is read while training."""
        dataset = self.train.dataset
        if not isinstance(dataset, Sized):
            return {}
        return {"train_features": len(dataset), "data_fingerprint": data_fingerprint(dataset)}

    def callbacks(self, *, evaluates: bool) -> list[RunReporter]:
        """Return what the Trainer is to call."""
        if not self.tracker.is_on:
            return []
        dataset = self.train.dataset
        known = isinstance(dataset, Sized)
        self.reporter = RunReporter(
            self.tracker,
            rows=len(dataset) if known else 0,
            tokens=int(lengths_of(dataset).sum()) if known else 0,
            checkpoint=self._send_checkpoint if self.sends == "checkpoint" else None,
            evaluates=evaluates,
        )
        return [self.reporter]

    def evaluated(
        self, state: Any, loss: float, result: Mapping[str, Any], answers: Any, data: TaskData, *, is_best: bool
    ) -> None:
        """Report one evaluation, and every so often what was answered to some of its rows.

        Args:
            state: The Trainer's: how far training is.
            loss: The training loss since the last log line.
            result: The scores.
            answers: What the model answered.
            data: The rows.
            is_best: Whether none before was better.
        """
        if not self.tracker.is_on:
            return
        args = self.model.args
        self.tracker.global_step = state.global_step
        self.scores = numeric(result)
        self.tracker.log({**scalars(result, "eval"), "train_loss": loss, "global_step": state.global_step})
        self.evaluations += 1
        shows = (self.evaluations - 1) % args.wandb_log_predictions_freq == 0
        if not args.wandb_log_predictions or not (shows or is_best):
            return
        with self.tracker.guard("the tables of predictions"):
            judged = self.model.judged(answers, data)
            if judged is not None and is_best:
                self.wrong = judged.worst()
            if judged is not None and shows:
                rows = judged.sample(args.wandb_log_predictions)
                progress = {"epoch": state.epoch, "global_step": state.global_step}
                log_table(self.tracker, "eval/predictions", rows.assign(**progress))

    def unwatch(self) -> None:
        """Take back what WANDB_WATCH has put on the network."""
        if self.reporter is not None:
            self.reporter.unwatch()

    def concluded(self, best: Mapping[str, Any] | None, best_step: int | None) -> None:
        """Report the best evaluation, and what it had wrong."""
        if best is not None:
            self.scores = numeric(best)
            self.tracker.summarise({f"best/{k}": v for k, v in self.scores.items()} | {"best/step": best_step})
        if self.wrong is not None:
            log_table(self.tracker, "eval/wrong_predictions", self.wrong)

    def saved(self, folder: Path | None) -> None:
        """Send the final weights where that is wanted: those of a folder, or of none, where nothing is saved."""
        if self.sends == "false" or not self.tracker.is_on:
            return
        if folder is not None:
            self._send(folder, "model", ["final_model"])
            return
        with self.tracker.guard("the model's artifact"), tempfile.TemporaryDirectory() as temporary:
            self.model.save_model(temporary)
            self._send(Path(temporary), "model", ["final_model"])

    def _send_checkpoint(self, folder: Path, aliases: list[str]) -> None:
        self._send(folder, "checkpoint", aliases)

    def _send(self, folder: Path, kind: str, aliases: list[str]) -> None:
        named = ("labels", "data_fingerprint", "train_rows", "eval_rows", "versions")
        known = {name: value for name, value in self._configuration.items() if name in named}
        metadata = {"metrics": self.scores, "base_checkpoint": self.model.args.model_name, **known}
        metadata["global_step"] = self.tracker.global_step
        log_folder(self.tracker, folder, kind=kind, aliases=aliases, metadata=metadata)


def record_evaluation(
    model: BaseModel, result: Mapping[str, Any], evaluation: Any, answers: Any, data: TaskData
) -> None:
    """Add what `eval_model` found to the run of the training, or to a run of its own where there was none."""
    earlier = model.run_record
    wanted = is_wanted(model.args, sweeping=model.is_sweeping) or is_open()
    if not wanted or (earlier is not None and earlier.id is None):
        return
    if earlier is not None and _belongs_elsewhere(earlier, model.args):
        earlier = None

    def config() -> dict[str, Any]:
        known = {} if model.labels is None else {"labels": model.labels.names}
        return {**hyperparameters(model.args), **known, "versions": versions()} if model.run_record is None else {}

    with tracked(model.args, config=config, main_process=True, earlier=earlier, sweeping=model.is_sweeping) as tracker:
        tracker.global_step = 0 if earlier is None else earlier.global_step
        tracker.log({**scalars(result, "test"), "global_step": tracker.global_step})
        with tracker.guard("tables and charts of the evaluation"):
            _log_details(model, tracker, evaluation, answers, data)
        found = tracker.record()
        if found is not None and (found.id is not None or earlier is None):
            model.run_record = found


def _log_details(model: BaseModel, tracker: Tracker, evaluation: Any, answers: Any, data: TaskData) -> None:
    judged = model.judged(answers, data) if tracker.is_on else None
    if judged is None:
        return
    log_judgement(tracker, judged)
    table = getattr(evaluation, "table", None)
    if table is not None:
        log_table(tracker, f"test/{judged.table_name}", table.reset_index())
    if model.args.wandb_log_predictions:
        log_table(tracker, "test/wrong_predictions", judged.worst())


def local_checkpoint(wanted: Any, *, on_cpu: bool) -> Any:
    """Return what to resume from, downloaded first where it is an artifact; the first rank alone does that.

    Args:
        wanted: What the caller gave.
        on_cpu: Whether the processes compute on CPUs.

    Raises:
        ModelNotFoundError: If there is no such artifact.
    """
    if not is_artifact(wanted):
        return wanted
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return fetched(str(wanted))
    found: list[Path | None] = [None]
    if PartialState(cpu=on_cpu).is_main_process:
        found = [fetched(str(wanted))]
    broadcast_object_list(found)
    return found[0]


def _belongs_elsewhere(earlier: RunRecord, args: ModelArgs) -> bool:
    project = args.wandb_kwargs.get("project", args.wandb_project)
    return None not in (project, earlier.project) and project != earlier.project
