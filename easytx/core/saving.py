"""What a model folder holds: JSON and safetensors, a card, and nothing that needs unpickling."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from easytx.config.model_args import ModelArgs
from easytx.errors import OutputDirError
from easytx.training.tracking_record import RunRecord, write_run

# Traces of where a tokenizer was loaded from, which mislead whoever loads it next.
_TOKENIZER_TRACES = (
    "is_local",
    "local_files_only",
    "max_length",
    "stride",
    "truncation_side_was",
    "name_or_path",
)


# What evaluations and searches for hard negatives leave in a folder: a training beside it overwrites nothing.
_NO_TRAINING = {
    "eval_results.json",
    "eval_results.txt",
    "hard_negatives.tsv",
    "nbest_predictions_test.json",
    "null_odds_test.json",
    "predictions_test.json",
}


def check_output_dir(folder: str | Path, *, overwrite: bool) -> None:
    """Raise if training would write into a folder that holds more than what came of evaluations.

    Raises:
        OutputDirError: Unless `overwrite`.
    """
    folder = Path(folder)
    if folder.is_file():
        raise OutputDirError(f"output_dir '{folder}' is a file.")
    if not overwrite and folder.is_dir() and any(path.name not in _NO_TRAINING for path in folder.iterdir()):
        raise OutputDirError(
            f"output_dir '{folder}' is not empty. Set overwrite_output_dir=True to write into it, or give another "
            "output_dir."
        )


def save_model(
    folder: str | Path,
    write_network: Callable[[Path], None],
    *,
    args: ModelArgs,
    size: tuple[str, int],
    results: Mapping[str, Any] | None = None,
    labels: list[str] | None = None,
    run: RunRecord | None = None,
) -> Path:
    """Write a model folder that easytx and transformers can open.

    Args:
        folder: Made where it is missing.
        write_network: Writes weights, configuration and tokenizer into it.
        args: Written as `model_args.json`.
        size: The network's class and its number of parameters, for the card.
        results: Scores for the card.
        labels: Label names for the card.
        run: The tracker's run that it was trained in.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_network(folder)
    args.save(folder)
    write_run(folder, run)
    (folder / "README.md").write_text(_card(size, args, results or {}, labels or []), encoding="utf-8")
    return folder


def write_states(folder: Path, parts: Mapping[str, Any]) -> None:
    """Write the states of an optimiser and of its schedule, where there are any, as `<name>.pt`."""
    given = {name: part for name, part in parts.items() if part is not None}
    if given:
        import torch

        for name, part in given.items():
            torch.save(part.state_dict(), folder / f"{name}.pt")


def write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer, without traces of where it came from and of how it was last used."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8"))
    path.write_text(
        json.dumps({k: v for k, v in settings.items() if k not in _TOKENIZER_TRACES}, indent=2, ensure_ascii=False)
        + "\n",
        encoding="utf-8",
    )


def write_results(folder: str | Path, result: Mapping[str, Any]) -> None:
    """Write scores as `eval_results.txt`, sorted `key = value` lines, and `eval_results.json`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{name} = {result[name]}\n" for name in sorted(result))
    (folder / "eval_results.txt").write_text(lines, encoding="utf-8")
    (folder / "eval_results.json").write_text(
        json.dumps(_plain(result), indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8"
    )


def _plain(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return scores as JSON has them: numpy's numbers as numbers, and null for what is not a number."""
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in result.items()}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in plain.items()}


def _card(size: tuple[str, int], args: ModelArgs, results: Mapping[str, Any], labels: list[str]) -> str:
    numbers = [f"| {name} | {value:.4f} |" for name, value in sorted(results.items()) if isinstance(value, float)]
    settings = ("num_train_epochs", "train_batch_size", "learning_rate", "max_seq_length", "manual_seed")
    parts = [
        "---\nlibrary_name: transformers\ntags:\n- easytx\n---\n",
        f"# {args.model_class or 'Model'} from {args.model_name}\n",
        "Open it with `easytx.load(folder)`, or with transformers.\n",
        f"Architecture: {size[0]}, {size[1]:,} parameters.\n",
        "## Training\n\n" + "\n".join(f"- {name}: {args[name]}" for name in settings) + "\n",
    ]
    if labels:
        parts.append("## Labels\n\n" + ", ".join(labels[:100]) + "\n")
    if numbers:
        parts.append("## Scores\n\n| score | value |\n|---|---|\n" + "\n".join(numbers) + "\n")
    return "\n".join(parts)
