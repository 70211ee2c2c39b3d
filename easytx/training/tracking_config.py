"""What of a training is sent to a tracker as its configuration: nothing that may be a secret."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import platform
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from easytx.config.fields import fields_of
from easytx.config.model_args import ModelArgs

_SMELLS = re.compile(r"key|token|secret|passw|credential|auth|bearer|cookie", re.IGNORECASE)

# Arguments of ours whose names smell of secrets, and which hold none.
_HARMLESS = {"special_tokens_list", "tokenizer_name", "tokenizer_type"}

# For wandb.init, which takes a key among other things.
_NEVER = {"wandb_kwargs"}

_PACKAGES = ("torch", "transformers", "datasets", "accelerate", "wandb")
_NESTED = 4


def hyperparameters(args: ModelArgs) -> dict[str, Any]:
    """Return the declared arguments that have an effect and can hold no secret, as JSON has them.

    Only names that the class declares are looked at, so nothing that was merely attached to it gets out.
    """
    kept = {}
    for name, (field, _) in fields_of(type(args)).items():
        smells = _SMELLS.search(name) is not None and name not in _HARMLESS
        if not smells and name not in _NEVER and not field.metadata["no_effect"]:
            kept[name] = _clean(args[name])
    return kept


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a result depends on."""
    # Imported by name: the package's own module stands above this layer.
    own = importlib.import_module("easytx").__version__
    found = {"python": platform.python_version(), "easytx": own}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def data_fingerprint(dataset: Dataset) -> str:
    """Return a name for what the model is trained on: every token and every label, in order, counts."""
    digest = hashlib.sha256()
    columns = [name for name in ("input_ids", "labels", "start_positions", "end_positions") if name in dataset.features]
    for batch in dataset.select_columns(columns).with_format("arrow").iter(10_000):
        for name in columns:
            column = batch[name].combine_chunks()
            while pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
                digest.update(pc.list_value_length(column).to_numpy(zero_copy_only=False).tobytes())
                column = pc.list_flatten(column)
            digest.update(column.to_numpy(zero_copy_only=False).tobytes())
    if "image" in dataset.features:
        for batch in dataset.select_columns(["image"]).with_format("arrow").iter(100):
            for image in batch["image"].to_pylist():
                digest.update(image["bytes"] or image["path"].encode())
    return digest.hexdigest()[:32]


def _clean(value: Any, depth: int = 0) -> Any:
    """Return a value without the nested entries whose names smell of secrets."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth >= _NESTED:
        return "..."
    if isinstance(value, Mapping):
        return {str(k): _clean(v, depth + 1) for k, v in value.items() if not _SMELLS.search(str(k))}
    if isinstance(value, (list, tuple)):
        return [_clean(item, depth + 1) for item in value]
    return type(value).__name__
