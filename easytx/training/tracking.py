"""Trackers: one run from start to finish, where it is written, and never in the way of the training."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from easytx.config.model_args import ModelArgs
from easytx.errors import MissingExtraError
from easytx.training.tracking_mode import is_wanted
from easytx.training.tracking_open import open_run
from easytx.training.tracking_record import RunRecord
from easytx.training.tracking_server import Link

if TYPE_CHECKING:
    from transformers import TrainerCallback

logger = logging.getLogger(__name__)

STEP = "train/global_step"

# Bytes: with less room on a disk, wandb may have had to leave something out.
_ROOM = 100_000

# Seconds between two looks at whether the server still takes what is sent.
_PAUSE = 5


class Guard:
    """A context in which an error is told, at most once, and goes no further.

    Not an `except` clause of any kind of error: whatever a tracker raises has to end here, but only that.

    Args:
        told: Called with the error.
    """

    def __init__(self, told: Callable[[Exception], None]) -> None:
        self.told = told

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        """Swallow an error, but not what ends the program, nor how wandb's agent ends a run: a bare Exception."""
        if not isinstance(error, Exception) or (type(error) is Exception and not error.args):
            return False
        self.told(error)
        return True


class Tracker:
    """A run of Weights & Biases, or nothing at all; no method of it raises.

    Attributes:
        run: wandb's run; None where nothing is tracked.
        owned: Whether it was opened here, and so is finished here.
    """

    def __init__(self) -> None:
        self.run: Any = None
        self.owned = False
        self.failed = False
        self.folder: str | None = None
        self.global_step = 0
        self._uploads: list[Any] = []
        self._link: Link | None = None
        self._first_step: int | None = None
        self._warned = False
        self._record: RunRecord | None = None

    @property
    def is_on(self) -> bool:
        """Whether there is a run that takes what it is given."""
        return self.run is not None and not self.failed and not getattr(self.run, "disabled", False)

    def open(self, args: ModelArgs, config: Callable[[], Mapping[str, Any]], earlier: RunRecord | None) -> None:
        """Take the run that is open, go on with an earlier one, or begin one."""
        with self.guard("everything about this run", ends=True):
            try:
                import wandb
            except ImportError:
                self.failed = True
                self._warn("wandb is not installed, so this run is not recorded", "Install it with: pip install wandb")
                return
            if wandb.run is not None:
                self._take(wandb.run)
                if self.is_on:
                    self.run.config.update(dict(config()), allow_val_change=True)
                    self._define(("train/*", "eval/*", "test/*"))
                return
            opened = open_run(wandb, args, config, earlier)
            self.owned = True
            self._take(opened.run)
            self._first_step = opened.first_step
            if opened.reason is not None:
                self._warn(f"{opened.reason}, so this run is not on the server, only in {self.folder}", self._later())
            if self.is_on:
                self._define(("*",))

    def _take(self, run: Any) -> None:
        self.run, self.folder = run, _folder(run)
        if self.is_on and not getattr(run, "offline", True):
            self._link = Link(run)

    def _define(self, names: tuple[str, ...]) -> None:
        self.run.define_metric(STEP)
        for name in names:
            self.run.define_metric(name, step_metric=STEP, step_sync=True)

    def log(self, row: Mapping[str, Any], what: str = "metrics") -> None:
        """Add a row to the history, at the optimiser step that was told last."""
        if not self.is_on:
            return
        with self.guard(what, ends=what == "metrics"):
            step, self._first_step = self._first_step, None
            self.run.log({STEP: self.global_step, **row}, **({} if step is None else {"step": step, "commit": True}))

    def summarise(self, values: Mapping[str, Any]) -> None:
        """Set values of the summary."""
        if self.is_on:
            with self.guard("the summary"):
                self.run.summary.update(dict(values))

    def record(self) -> RunRecord | None:
        """Return which run this is; None where nothing is tracked."""
        if self.is_on:
            with self.guard("the run's id"):
                run = self.run
                # Asked for the URL of a run that has none, wandb prints a warning.
                offline = bool(getattr(run, "offline", False))
                self._record = RunRecord(
                    id=run.id,
                    name=run.name,
                    url=None if offline else run.url,
                    project=run.project,
                    entity=run.entity or None,
                    mode="offline" if offline else "online",
                    step=int(run.step),
                    global_step=self.global_step,
                )
        return RunRecord(None) if self.failed and self._record is None else self._record

    def reaches_server(self) -> bool:
        """Tell whether tables and artifacts can be logged now; for a run in a folder that is always so."""
        if self._link is None or self._link.is_up():
            return True
        self._warn(
            f"{self._link.url} does not answer any more, so tables and artifacts will be missing from the run",
            self._later(),
        )
        return False

    def log_artifact(self, artifact: Any, aliases: list[str]) -> None:
        """Send an artifact; the end of the run waits for it, as long as the server answers."""
        self._uploads.append(self.run.log_artifact(artifact, aliases=aliases))

    def close(self, exit_code: int) -> None:
        """Finish the run if it was opened here."""
        run, self.run = self.run, None
        if run is None or not self.owned:
            return
        with self.guard("artifacts"):
            self._wait_for_uploads()
        with self.guard("the end of the run"):
            run.finish(exit_code=exit_code)
            if self.folder is not None and shutil.disk_usage(self.folder).free < _ROOM:
                # wandb keeps it to itself if it cannot write.
                self._warn(f"the disk of {self.folder} is full, so the end of the run may be missing", self._later())
        _forget(run)

    def _wait_for_uploads(self) -> None:
        # The client's own time limit at the end of a run is for the little that is left; weights take longer.
        for artifact in self._uploads:
            while self._link is not None and not _is_sent(artifact):
                if not self._link.is_up(afresh=True):
                    return

    def guard(self, what: str, *, ends: bool = False) -> Guard:
        """Return a context that keeps errors of the tracker from the training.

        Args:
            what: What is not recorded if there is one.
            ends: Whether nothing else is recorded after one.
        """

        def told(error: Exception) -> None:
            self.failed = self.failed or ends
            lost = "everything from here on" if ends and self.run is not None else what
            self._warn(f"{lost} will be missing from the run ({type(error).__name__}: {error})", self._later())

        return Guard(told)

    def _later(self) -> str:
        return "" if self.folder is None else f"Send what is recorded with: wandb sync {self.folder}"

    def _warn(self, problem: str, remedy: str) -> None:
        level = logging.DEBUG if self._warned else logging.WARNING
        logger.log(level, "Weights & Biases: %s. Training is not affected. %s", problem, remedy)
        self._warned = True


@contextlib.contextmanager
def tracked(
    args: ModelArgs,
    *,
    config: Callable[[], Mapping[str, Any]],
    main_process: bool,
    earlier: RunRecord | None = None,
    sweeping: bool = False,
) -> Iterator[Tracker]:
    """Keep a Weights & Biases run open while the block runs, where one is wanted.

    A run that the caller has opened is used and left open; a run opened here is finished here, with exit code 1
    after an exception. Whatever goes wrong with it is a warning, never an error.

    Args:
        args: `wandb_project` switches it on, `wandb_kwargs` goes to `wandb.init`.
        config: Returns the hyperparameters of the run.
        main_process: Whether this process is the one that reports.
        earlier: The run to go on with.
        sweeping: Whether the arguments come from a sweep, which is tracked without a project too.
    """
    tracker = Tracker()
    exit_code = 1
    try:
        if main_process and is_wanted(args, sweeping=sweeping):
            tracker.open(args, config, earlier)
        yield tracker
        exit_code = 0
    finally:
        tracker.close(exit_code)


def reporters(args: ModelArgs) -> list[TrainerCallback]:
    """Return the callbacks of trackers that need to be told more than that they are wanted.

    Raises:
        MissingExtraError: If `tensorboard_dir` is set and TensorBoard is not installed.
    """
    if not args.tensorboard_dir:
        return []
    from transformers.integrations import integration_utils

    if not integration_utils.is_tensorboard_available():
        raise MissingExtraError(
            "tensorboard_dir needs the package 'tensorboard'. Install it with: pip install tensorboard"
        )
    reporter = integration_utils.TensorBoardCallback()
    reporter.logging_dir = args.tensorboard_dir
    return [reporter]


def _is_sent(artifact: Any) -> bool:
    """Tell whether an artifact is on the server, after a few seconds at most."""
    import wandb

    try:
        artifact.wait(timeout=_PAUSE)
    except wandb.errors.Error as error:
        if isinstance(error.__cause__, TimeoutError):
            return False
        raise
    return True


def _forget(run: Any) -> None:
    """Free what a client that has broken down leaves behind: its next run would break down at once."""
    wandb: Any = sys.modules["wandb"]
    if wandb.run is run:
        wandb.run = None
        with Guard(lambda error: logger.debug("wandb could not be shut down: %s", error)):
            wandb.teardown()


def _folder(run: Any) -> str | None:
    """Return where wandb keeps a run on disk; None for a disabled run, which names a folder that is not there."""
    folder = Path(getattr(run, "dir", None) or "").resolve().parent
    return str(folder) if getattr(run, "dir", None) and folder.is_dir() else None
