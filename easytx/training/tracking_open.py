"""Opening a run: a new one or an earlier one, on the server or, where that does not work, in a folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from easytx.config.model_args import ModelArgs
from easytx.training.tracking_mode import Decision, decided_mode, init_options, with_settings
from easytx.training.tracking_record import RunRecord

# Seconds until a run is open or has been given up, and of these at least so many for the client itself.
_OPENING, _LEAST = 9.0, 3.0

# The longest wait at the end of a run for what has not been sent yet, in seconds. The client alone waits for hours.
CLOSING = 8.0

# What wandb.init is not given when a run goes on: how it was begun.
_BEGINNING = ("fork_from", "resume_from", "config")


class Opened(NamedTuple):
    """A run that was opened.

    Attributes:
        run: wandb's run.
        reason: Why it is not on the server, if it was meant to be.
        first_step: The number of its next row; None leaves counting to wandb.
    """

    run: Any
    reason: str | None
    first_step: int | None


def open_run(wandb: Any, args: ModelArgs, config: Callable[[], Mapping[str, Any]], earlier: RunRecord | None) -> Opened:
    """Begin a run, or go on with an earlier one.

    Args:
        wandb: The module.
        args: `wandb_project` and `wandb_kwargs`.
        config: Returns the hyperparameters.
        earlier: The run to go on with.
    """
    options, started = init_options(args), time.monotonic()
    # A run stays where it was begun: what is sent later has to follow what was kept in a folder.
    stays = earlier is not None and earlier.mode == "offline"
    decision = Decision("offline") if stays else decided_mode(wandb, options)
    spent = time.monotonic() - started
    if earlier is None:
        options["config"] = {**config(), **(options.get("config") or {})}
    else:
        where = {"id": earlier.id, "project": earlier.project, "entity": earlier.entity, "resume": "allow"}
        options = {name: value for name, value in options.items() if name not in _BEGINNING}
        options |= {name: value for name, value in where.items() if value is not None}
    run, decision = _initialised(wandb, options, decision, patience=max(_LEAST, _OPENING - spent))
    first_step = earlier.step if earlier is not None and decision.mode == "offline" else None
    return Opened(run, decision.reason, first_step)


def _initialised(
    wandb: Any, options: Mapping[str, Any], decision: Decision, *, patience: float
) -> tuple[Any, Decision]:
    if decision.server is not None:
        limits = {"init_timeout": patience, "finish_timeout": CLOSING, "finish_timeout_raises": True}
        try:
            return _init(wandb, options, decision.mode, limits), decision
        except (wandb.errors.Error, OSError) as error:
            said = str(error).partition("\n")[0]
            decision = Decision("offline", f"{decision.server} did not open it ({said})")
    return _init(wandb, options, decision.mode, {}), decision


def _init(wandb: Any, options: Mapping[str, Any], mode: str | None, added: Mapping[str, Any]) -> Any:
    settings = with_settings(wandb, options.get("settings"), added)
    stated = {"mode": mode, "settings": settings}
    return wandb.init(**{**options, **{name: value for name, value in stated.items() if value is not None}})
