"""Whether a run is tracked, and whether it goes to the server or into a folder: decided before it is opened."""

from __future__ import annotations

import http.client
import os
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from easytx.config.model_args import ModelArgs

# The longest wait for a server that does not answer, in seconds.
PATIENCE = 6.0

_YES = {"1", "true", "yes", "on", "y", "t"}
_ONLINE = {"online", "run", "shared"}
LOG_MODEL = ("false", "end", "checkpoint")


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


def decided_mode(wandb: Any, options: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the mode to open a run with, and why it is not the one asked for.

    An attempt to go online that fails cannot be repaired in the same process, and without a key wandb would ask for
    one. So both are found out here: without a key, or where no server answers within a few seconds, the mode is
    "offline".

    Args:
        wandb: The module.
        options: For `wandb.init`.
    """
    mode = stated_mode(options)
    settings = wandb.setup().settings
    if (mode or str(settings.mode)) not in _ONLINE:
        return mode, None
    if not _has_key(wandb, options):
        return "offline", "there is no API key (wandb login, or WANDB_API_KEY, sets one)"
    url = str(_setting(options, "base_url") or os.environ.get("WANDB_BASE_URL") or settings.base_url)
    if not answers(url):
        return "offline", f"{url} does not answer"
    return mode, None


def answers(url: str, *, seconds: float = PATIENCE) -> bool:
    """Tell whether a server answers at this address within so many seconds, looking up its name included."""
    found: list[bool] = []
    # The look-up of a name knows no time limit, so it is left behind in a thread where it takes too long.
    thread = threading.Thread(target=lambda: found.append(_answers(url, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    return found == [True]


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


def _answers(url: str, seconds: float) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=seconds):
            return True
    except urllib.error.HTTPError as error:
        # A server that refuses this page is there; one that is broken, or has no other behind it, is not.
        return error.code < 500
    except urllib.error.URLError as error:
        # wandb brings certificates of its own.
        return isinstance(error.reason, ssl.SSLError)
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _has_key(wandb: Any, options: Mapping[str, Any]) -> bool:
    stated = _setting(options, "api_key") or os.environ.get("WANDB_API_KEY")
    return bool(stated or os.environ.get("WANDB_IDENTITY_TOKEN_FILE") or wandb.login(prompt=False))


def _setting(options: Mapping[str, Any], name: str) -> Any:
    """Return what the `settings` among the options say, as an object or a mapping, where they say something."""
    settings = options.get("settings")
    if isinstance(settings, Mapping):
        return settings.get(name)
    stated = getattr(settings, "model_fields_set", ())
    return getattr(settings, name, None) if name in stated else None
