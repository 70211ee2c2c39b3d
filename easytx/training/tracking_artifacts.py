"""Models as artifacts of Weights & Biases: sent, fetched, and linked to the registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from easytx.errors import MissingExtraError, ModelNotFoundError
from easytx.training.tracking import Tracker

# What stands before the name of an artifact where otherwise a folder is given.
PREFIX = "wandb:"


def log_folder(
    tracker: Tracker, folder: Path, *, kind: str, aliases: Sequence[str], metadata: Mapping[str, Any]
) -> None:
    """Send the files of a folder, without the folders in it, as the artifact `{kind}-{name or id of the run}`.

    Args:
        tracker: The run.
        folder: A model folder or a checkpoint.
        kind: "model" or "checkpoint".
        aliases: Names for this version, besides "latest".
        metadata: What is known of it.
    """
    if not tracker.is_on or not tracker.reaches_server():
        return
    with tracker.guard(f"the artifact of {folder.name}"):
        import wandb

        artifact = wandb.Artifact(artifact_name(kind, tracker.run), type="model", metadata=dict(metadata))
        for path in sorted(folder.iterdir()):
            if path.is_file():
                artifact.add_file(str(path))
        tracker.log_artifact(artifact, [*aliases, "latest"])


def artifact_name(kind: str, run: Any) -> str:
    """Return what the artifact of a run is called."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", f"{kind}-{run.name or run.id}")


def is_artifact(name: Any) -> bool:
    """Tell whether a folder is given as the name of an artifact, `wandb:entity/project/name:alias`."""
    return str(name).startswith(PREFIX) if isinstance(name, (str, Path)) else False


def fetched(name: str) -> Path:
    """Return the folder that an artifact has been downloaded into.

    wandb decides where that is: under WANDB_ARTIFACT_DIR, or `artifacts` in the working directory.

    Args:
        name: `wandb:entity/project/name:alias`.

    Raises:
        MissingExtraError: If wandb is not installed.
        ModelNotFoundError: If there is no such artifact, or the server cannot be reached.
    """
    wandb = _wandb("A model from Weights & Biases")
    name = name.removeprefix(PREFIX)
    try:
        return Path(wandb.Api().artifact(name, type="model").download())
    except (wandb.Error, OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"The artifact '{name}' could not be downloaded. It is named wandb:entity/project/name:alias, and needs a "
            f"login (wandb login). The cause was: {type(error).__name__}: {error}"
        ) from error


def link_model(name: str, target: str, *, aliases: Sequence[str] = ()) -> None:
    """Link an artifact to a collection of the registry.

    Args:
        name: `entity/project/name:alias`, with or without `wandb:` before it.
        target: The collection, such as `wandb-registry-model/tickets`.
        aliases: Names for this version in the collection, such as "production".

    Raises:
        MissingExtraError: If wandb is not installed.
        ModelNotFoundError: If one of the two is not there, or the server cannot be reached.
    """
    wandb = _wandb("The registry of Weights & Biases")
    name = name.removeprefix(PREFIX)
    try:
        wandb.Api().artifact(name, type="model").link(target, aliases=list(aliases) or None)
    except (wandb.Error, OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"The artifact '{name}' could not be linked to '{target}'. The cause was: {type(error).__name__}: {error}"
        ) from error


def _wandb(purpose: str) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise MissingExtraError(f"{purpose} needs the package 'wandb'. Install it with: pip install wandb") from error
    return wandb
