"""Tokenised data kept on disk, under a name that says exactly what it was made from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from datasets import Dataset, load_from_disk
from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars


def fingerprint(tokenizer: Any, *parts: Any) -> str:
    """Return a name for what the tokenizer makes of the parts: every text, in order, and every setting counts."""
    if hasattr(tokenizer, "backend_tokenizer"):
        state = json.loads(tokenizer.backend_tokenizer.to_str())
    else:
        # Tokenizers in Python, such as Marian's, are told apart by their words and settings.
        state = {"vocab": tokenizer.get_vocab(), "settings": repr(tokenizer)}
    # What the last call left behind; a call sets both anew.
    state |= {"truncation": None, "padding": None}
    # The same vocabulary may serve architectures that read other inputs, or from another side.
    state["settings of calls"] = [*tokenizer.model_input_names, tokenizer.padding_side, tokenizer.truncation_side]
    digest = hashlib.sha256(json.dumps(state).encode())
    for part in parts:
        for piece in part if _is_list(part) else (part,):
            text = piece.encode("utf-8", "surrogatepass") if isinstance(piece, str) else repr(piece).encode()
            digest.update(len(text).to_bytes(8, "big") + text)
        digest.update(b"\0part")
    return digest.hexdigest()[:32]


def kept(folder: str | Path, name: str, make: Callable[[], Dataset]) -> Dataset:
    """Return the dataset kept under a name, or make and keep it.

    It appears under its name only when it is complete, so an interrupted write is never read.
    """
    place = Path(folder) / name
    if (place / "state.json").is_file():
        return load_from_disk(str(place))
    place.parent.mkdir(parents=True, exist_ok=True)
    dataset = make()
    partial = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=place.parent))
    try:
        with without_bars():
            dataset.save_to_disk(str(partial))
        _move(partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return dataset


def _move(partial: Path, place: Path) -> None:
    try:
        partial.replace(place)
    except OSError:
        # Another process may have been first, at any moment up to this one.
        if not place.is_dir():
            raise


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Keep the bar of datasets off the screen, and leave its setting as it is."""
    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _is_list(part: Any) -> bool:
    return isinstance(part, Iterable) and not isinstance(part, (str, bytes))
