"""The server of Weights & Biases: whether it answers, and whether there is a key for it."""

from __future__ import annotations

import http.client
import netrc
import os
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# The longest wait for a server that does not answer, in seconds.
PATIENCE = 5.0

# How long an answer of the server is taken for granted, and how long it is left alone after it has not answered.
_FRESH, _REST = 5.0, 300.0


class Link:
    """The way to the server of a run that is open: looked at before each call that would wait for it.

    wandb keeps numbers in a folder and sends them in the background, but for tables and artifacts it asks the server
    first, each time for many seconds where nobody answers.
    """

    def __init__(self, run: Any) -> None:
        self.url = str(run.settings.base_url)
        self._proxies = proxies_of(run.settings)
        self._asked: float | None = None
        self._answered = True

    def is_up(self, *, afresh: bool = False) -> bool:
        """Tell whether the server answers; unless it is asked afresh, what was found a moment ago will do."""
        now = time.monotonic()
        rest = _REST if not self._answered else 0.0 if afresh else _FRESH
        if self._asked is None or now - self._asked >= rest:
            self._answered = answers(self.url, proxies=self._proxies)
            self._asked = time.monotonic()
        return self._answered


def answers(url: str, *, proxies: Mapping[str, str] | None = None, seconds: float | None = None) -> bool:
    """Tell whether a server answers at this address in time, looking up its name included.

    Args:
        url: The address that wandb has as `base_url`.
        proxies: Those to use instead of the environment's.
        seconds: The longest wait; `PATIENCE` by default.
    """
    patience = PATIENCE if seconds is None else seconds
    found: list[bool] = []
    # The look-up of a name knows no time limit, so it is left behind in a thread where it takes too long.
    thread = threading.Thread(target=lambda: found.append(_answers(url, proxies, patience)), daemon=True)
    thread.start()
    thread.join(patience)
    return found == [True]


def proxies_of(settings: Any) -> dict[str, str] | None:
    """Return the proxies that wandb's settings state; None for those of the environment."""
    stated = {name: getattr(settings, f"{name}_proxy", None) for name in ("http", "https")}
    return {name: str(proxy) for name, proxy in stated.items() if proxy} or None


def has_key(settings: Any, url: str) -> bool:
    """Tell whether there is a key for the server; neither the user nor the server is asked, as `wandb.login` would.

    Args:
        settings: wandb's.
        url: The server's address.
    """
    stated = os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE")
    if stated or getattr(settings, "api_key", None):
        return True
    return _in_netrc(url, is_default=url == type(settings).model_fields["base_url"].default)


def _answers(url: str, proxies: Mapping[str, str] | None, seconds: float) -> bool:
    # Where wandb itself will knock: a server may have a page and no application behind it.
    question = {"data": b'{"query": "{ __typename }"}', "headers": {"Content-Type": "application/json"}}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(None if proxies is None else dict(proxies)))
    try:
        with opener.open(urllib.request.Request(f"{url.rstrip('/')}/graphql", **question), timeout=seconds):  # type: ignore[arg-type]
            return True
    except urllib.error.HTTPError as error:
        # A server that refuses this question is there; one that is broken, or has no other behind it, is not.
        return error.code < 500
    except urllib.error.URLError as error:
        # wandb brings certificates of its own.
        return isinstance(error.reason, ssl.SSLError)
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _in_netrc(url: str, *, is_default: bool) -> bool:
    # There the default server is called as it always was.
    hosts = [urlsplit(url).netloc, *(["api.wandb.ai"] if is_default else [])]
    homes = [Path("~", name).expanduser() for name in (".netrc", "_netrc")]
    path = os.environ.get("NETRC") or next((home for home in homes if home.is_file()), homes[0])
    try:
        entries = netrc.netrc(path)
    except (OSError, netrc.NetrcParseError):
        return False
    return any(entries.authenticators(host) for host in hosts)
