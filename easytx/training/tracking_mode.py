"""Whether a run is tracked, and whether it goes to the server or into a folder: decided before it is opened."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from easytx.config.model_args import ModelArgs
from easytx.training.tracking_server import answers, has_key, proxies_of

_YES = {"1", "true", "yes", "on", "y", "t"}
_ONLINE = {"online", "run", "shared"}
LOG_MODEL = ("false", "end", "checkpoint")

NO_KEY = "there is no API key (wandb login, or WANDB_API_KEY, sets one)"


class Decision(NamedTuple):
    """Where a run goes.

    Attributes:
        mode: For `wandb.init`; None leaves it to wandb.
        reason: Why it is not the mode that was asked for.
        server: The server's address where the run goes there, otherwise None.
    """

    mode: str | None
    reason: str | None = None
    server: str | None = None


def is_wanted(args: ModelArgs, *, sweeping: bool = False) -> bool:
    """Tell whether Weights & Biases is switched on: by `wandb_project`, by `report_to`, or by a sweep."""
    return bool(args.wandb_project) or "wandb" in args.report_to or sweeping


def is_open() -> bool:
    """Tell whether the caller has opened a run."""
    wandb: Any = sys.modules.get("wandb")
    return wandb is not None and wandb.run is not None


def init_options(args: ModelArgs) -> dict[str, Any]:
    """Return what `wandb.init` is given of the arguments: `wandb_kwargs` as they are, and the project."""
    project = {"project": args.wandb_project} if args.wandb_project else {}
    return {**project, **args.wandb_kwargs}


def stated_mode(options: Mapping[str, Any]) -> str | None:
    """Return the mode that the caller or the environment asks for; None leaves it to wandb's settings.

    WANDB_DISABLED, which wandb itself no longer reads, counts as the mode "disabled". What `wandb_kwargs` says wins.
    """
    mode = options.get("mode") or _setting(options, "mode")
    if mode:
        return str(mode)
    if os.environ.get("WANDB_DISABLED", "").strip().lower() in _YES:
        return "disabled"
    return os.environ.get("WANDB_MODE") or None


def decided_mode(wandb: Any, options: Mapping[str, Any]) -> Decision:
    """Return where a run goes.

    Without a key wandb would ask for one, and a server that is not there it would wait for. So both are found out
    here: without a key, or where no server answers within a few seconds, the mode is "offline".

    Args:
        wandb: The module.
        options: For `wandb.init`.
    """
    mode = stated_mode(options)
    settings = wandb.setup().settings
    if (mode or str(settings.mode)) not in _ONLINE:
        return Decision(mode)
    url = str(_setting(options, "base_url") or os.environ.get("WANDB_BASE_URL") or settings.base_url)
    if not (_setting(options, "api_key") or has_key(settings, url)):
        return Decision("offline", NO_KEY)
    if not answers(url, proxies=proxies_of(settings)):
        return Decision("offline", f"{url} does not answer")
    return Decision(mode, server=url)


def with_settings(wandb: Any, settings: Any, added: Mapping[str, Any]) -> Any:
    """Return settings for `wandb.init` with further ones, where neither they nor the environment have them already.

    Args:
        wandb: The module.
        settings: An object, a mapping or None; it stays as it is, while wandb would write the run's id into it.
        added: Name -> value; names that this version of wandb does not know are left out.
    """
    own = {"settings": settings}
    new = {
        name: value
        for name, value in added.items()
        if name in wandb.Settings.model_fields
        and _setting(own, name) is None
        and f"WANDB_{name.upper()}" not in os.environ
    }
    if settings is None or isinstance(settings, Mapping):
        return {**new, **(settings or {})} or None
    settings = copy.copy(settings)
    for name, value in new.items():
        setattr(settings, name, value)
    return settings


def log_model(args: ModelArgs) -> str:
    """Return which weights become artifacts: "false" for none, "end", or "checkpoint" for those at each save too."""
    if args.wandb_log_model is not None:
        return args.wandb_log_model
    stated = os.environ.get("WANDB_LOG_MODEL", "false").strip().lower()
    if stated in _YES:
        return "end"
    return stated if stated in LOG_MODEL else "false"


def watched() -> str | None:
    """Return what WANDB_WATCH has wandb record of the network: "gradients", "parameters", "all" or nothing."""
    stated = os.environ.get("WANDB_WATCH", "false").strip().lower()
    return stated if stated in ("gradients", "parameters", "all") else None


def _setting(options: Mapping[str, Any], name: str) -> Any:
    """Return what the `settings` among the options say, as an object or a mapping, where they say something."""
    settings = options.get("settings")
    if isinstance(settings, Mapping):
        return settings.get(name)
    stated = getattr(settings, "model_fields_set", ())
    return getattr(settings, name, None) if name in stated else None
