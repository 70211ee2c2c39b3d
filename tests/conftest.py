"""What every test starts from: no network, no tracker, and a folder of its own to write in."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_HOME = tempfile.TemporaryDirectory(prefix="easytx-tests-")

# At import, because the libraries read most of these when they are imported themselves.
os.environ.update(
    {
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HOME": f"{_HOME.name}/huggingface",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "MPLBACKEND": "agg",
        # Small models gain little by threads, and threads that wait for each other make a busy machine crawl.
        "OMP_NUM_THREADS": "1",
        "WANDB_CACHE_DIR": f"{_HOME.name}/wandb/cache",
        "WANDB_CONFIG_DIR": f"{_HOME.name}/wandb/config",
        "WANDB_DATA_DIR": f"{_HOME.name}/wandb/data",
        "WANDB_DIR": f"{_HOME.name}/wandb",
        "WANDB_MODE": "disabled",
        "WANDB_SILENT": "true",
    }
)


def pytest_unconfigure() -> None:
    _HOME.cleanup()


@pytest.fixture(autouse=True)
def _own_tracker() -> Iterator[None]:
    """Have the client forget, after each test, what it has read of the environment, and end what is open."""
    yield
    wandb = sys.modules.get("wandb")
    if wandb is not None:
        wandb.teardown()


@pytest.fixture(autouse=True)
def _own_folder(_own_tracker: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test in an empty folder, so that defaults such as outputs/ do not land in the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def _imports_are_no_garbage() -> Iterator[None]:
    """Each training collects garbage; keep it from looking through all that the imports have made."""
    for name in ("easytx.core.fitting", "optuna"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def warned() -> Callable[[Callable[[], Any]], tuple[Any, list[str]]]:
    """Return what calls a function and gives back its result and the warnings it gave, each as often as given."""

    def call(function: Callable[[], Any]) -> tuple[Any, list[str]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = function()
        return result, [str(warning.message) for warning in caught]

    return call
