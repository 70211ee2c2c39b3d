"""Checkpoints that are whole: sealed when written, checked before they are used."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from easytx.errors import CheckpointError

_SEAL = "checkpoint_files.json"
_NAME = re.compile(r"checkpoint-(\d+)")


def seal(folder: str | Path) -> None:
    """Write, as the last file of a checkpoint, the names and sizes in bytes of all the others."""
    folder = Path(folder)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != _SEAL]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
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
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


def rotate(output_dir: str | Path, keep: int | None) -> None:
    """Delete checkpoints except the `keep` written last; None keeps all."""
    if keep is None:
        return
    written = sorted(_numbered(output_dir), key=lambda item: (item[1].stat().st_mtime_ns, item[0]))
    for _, path in written[:-keep]:
        shutil.rmtree(path)


def newest(output_dir: str | Path) -> Path | None:
    """Return the whole checkpoint with the highest step, or None."""
    return next((path for _, path in sorted(_numbered(output_dir), reverse=True) if is_whole(path)), None)


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


def _numbered(output_dir: str | Path) -> list[tuple[int, Path]]:
    """Return the checkpoints with their steps."""
    return [
        (int(match.group(1)), path)
        for path in Path(output_dir).glob("checkpoint-*")
        if (match := _NAME.fullmatch(path.name)) and path.is_dir()
    ]
