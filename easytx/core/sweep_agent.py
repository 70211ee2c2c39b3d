"""A sweep with Weights & Biases: the server chooses the values, its agent calls for the trials."""

from __future__ import annotations

import contextlib
import logging
import netrc
import os
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from easytx.config.warn import warn_user
from easytx.core.sweep_trial import FATAL, Trial, Trials

logger = logging.getLogger(__name__)

# Seconds. The client itself would wait for a minute and a half.
_PATIENCE = 5.0


def has_account() -> bool:
    """Tell whether there is an account of Weights & Biases to run a sweep with; asks nobody, and hardly waits."""
    try:
        import wandb
    except ImportError:
        return False
    if os.environ.get("WANDB_DISABLED", "").lower() in {"1", "on", "true", "yes"}:
        return False
    settings = wandb.setup().settings
    if (os.environ.get("WANDB_MODE") or settings.mode) not in {"online", "run", "shared"}:
        return False
    # In netrc files the default server is called as it always was.
    hosts = [urlsplit(settings.base_url).netloc, *([] if os.environ.get("WANDB_BASE_URL") else ["api.wandb.ai"])]
    if not (os.environ.get("WANDB_API_KEY") or settings.api_key or _in_netrc(hosts)):
        return False
    if _reachable(settings.base_url):
        return True
    warn_user(f"{settings.base_url} cannot be reached; the sweep runs on this machine alone.")
    return False


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
    if fatal:
        raise fatal[0]
    return done


def _run(trials: Trials, number: int, project: str | None) -> Trial:
    import wandb

    run = wandb.init()
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


def _in_netrc(hosts: list[str]) -> bool:
    try:
        entries = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return any(entries.authenticators(host) for host in hosts)


def _reachable(url: str) -> bool:
    parts = urlsplit(url)
    if urllib.request.getproxies():
        # Only the proxy can tell.
        return True
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=_PATIENCE):
            return True
    except OSError:
        return False
