"""A sweep with Weights & Biases: the server chooses the values, its agent calls for the trials."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

from easytx.config.warn import warn_user
from easytx.core.sweep_trial import FATAL, Trial, Trials
from easytx.training.tracking_mode import NO_KEY, decided_mode, with_settings
from easytx.training.tracking_open import CLOSING

logger = logging.getLogger(__name__)


def has_account() -> bool:
    """Tell whether there is an account of Weights & Biases to run a sweep with; asks nobody, and hardly waits."""
    try:
        import wandb
    except ImportError:
        return False
    decision = decided_mode(wandb, {})
    if decision.reason not in (None, NO_KEY):
        warn_user(f"{decision.reason}; the sweep runs on this machine alone.")
    return decision.server is not None


def run_agent(
    trials: Trials, config: Mapping[str, Any], *, count: int | None, project: str | None, entity: str | None
) -> list[Trial] | None:
    """Make a sweep and run its trials; None if the server takes no sweep.

    Args:
        trials: Runs one.
        config: The sweep dict.
        count: How many; None for as many as the server has.
        project: Where it goes; None for the client's own choice.
        entity: Whose it is; None for the account's default.
    """
    import wandb

    done: list[Trial] = []
    fatal: list[BaseException] = []

    def train() -> None:
        if fatal:
            # The agent goes on after a failure, up to a number of its own, and keeps the error to itself.
            raise fatal[0]
        try:
            done.append(_run(trials, len(done), project))
        except (*FATAL, wandb.errors.Error, OSError) as error:
            fatal.append(error)
            raise

    with _environment():
        try:
            sweep_id = wandb.sweep(dict(config), entity=entity, project=project)
        except (wandb.errors.Error, OSError) as error:
            warn_user(f"Weights & Biases took no sweep ({error}); it runs on this machine alone.")
            return None
        try:
            wandb.agent(sweep_id, function=train, entity=entity, project=project, count=count)
        except KeyboardInterrupt:
            logger.warning("The sweep was interrupted; its table ends here.")
    # What the client has read of the environment in between is forgotten.
    wandb.teardown()
    if fatal and (isinstance(fatal[0], FATAL) or not done):
        raise fatal[0]
    if fatal:
        warn_user(f"Weights & Biases failed ({fatal[0]}); the sweep's table ends here.")
    return done


def _run(trials: Trials, number: int, project: str | None) -> Trial:
    import wandb

    run = wandb.init(settings=with_settings(wandb, None, {"finish_timeout": CLOSING}))
    exit_code = 1
    try:
        params = {name: run.config[name] for name in trials.plan.parameters}
        own = {"wandb_project": run.project or project or "easytx"}
        trial = trials.run(number, params, args=own, ended=_is_end)
        if trial.score is not None:
            run.summary[trials.plan.metric] = trial.score
        exit_code = int(trial.state == "failed")
    finally:
        run.finish(exit_code=exit_code)
    return trial


def _is_end(error: BaseException) -> bool:
    """Tell whether the server, or the user on its pages, has ended the run: its agent raises a bare Exception then."""
    return type(error) is Exception and not error.args


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Take back what an agent leaves in the environment, which would make later runs part of the sweep."""
    before = {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            del os.environ[name]
        os.environ.update(before)
