"""Checkpoints that are whole: sealed when written, checked before they are used."""

from __future__ import annotations

import json
import re
from pathlib import Path

from easytx.errors import CheckpointError

_SEAL = "checkpoint_files.json"
_NAME = re.compile(r"checkpoint-(\d+)")


def seal(folder: str | Path) -> None:
    """Write, as the last file of a checkpoint, the names and sizes in bytes of all the others."""
    folder = Path(folder)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != _SEAL}
    partial = folder / f"{_SEAL}.partial"
    partial.write_text(json.dumps(sizes, indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / _SEAL)


def unseal(folder: str | Path) -> None:
    """Mark a checkpoint as not whole, before it is written anew."""
    (Path(folder) / _SEAL).unlink(missing_ok=True)


def is_whole(folder: str | Path) -> bool:
    """Tell whether all files of a sealed checkpoint are there in their full size."""
    folder = Path(folder)
    if not (folder / _SEAL).is_file():
        return False
    sizes = json.loads((folder / _SEAL).read_text("utf-8"))
    return all((folder / name).exists() and (folder / name).stat().st_size == size for name, size in sizes.items())


def newest(output_dir: str | Path) -> Path | None:
    """Return the whole checkpoint with the highest step, or None."""
    numbered = [
        (int(match.group(1)), path)
        for path in Path(output_dir).glob("checkpoint-*")
        if (match := _NAME.fullmatch(path.name))
    ]
    return next((path for _, path in sorted(numbered, reverse=True) if is_whole(path)), None)


def to_resume(wanted: bool | str | Path | None, output_dir: str | Path) -> Path | None:
    """Return the checkpoint to resume from.

    Args:
        wanted: True for the newest whole one under `output_dir`, a folder, or None or False for none.
        output_dir: Where checkpoints are.

    Raises:
        CheckpointError: If there is none, or it is not whole, or it holds no optimiser state.
    """
    if wanted is None or wanted is False:
        return None
    if wanted is True:
        found = newest(output_dir)
        if found is None:
            raise CheckpointError(f"There is no whole checkpoint under '{output_dir}' to resume from.")
        return _resumable(found)
    folder = Path(wanted)
    if not is_whole(folder):
        raise CheckpointError(f"'{folder}' is not a whole checkpoint: files are missing, or cut short.")
    return _resumable(folder)


def _resumable(folder: Path) -> Path:
    if not (folder / "optimizer.pt").exists():
        raise CheckpointError(
            f"'{folder}' holds weights but no optimiser state, so training cannot be resumed from it. "
            "It was saved with save_optimizer_and_scheduler=False."
        )
    return folder
