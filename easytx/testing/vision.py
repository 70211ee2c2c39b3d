"""Tiny vision encoders with their image processors, as `tiny_checkpoint` makes text encoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoConfig, AutoModel

from easytx.core.loading import quiet
from easytx.errors import ArgumentError
from easytx.testing.seeds import seeded_on_cpu

__all__ = ["VISION_ARCHITECTURES", "tiny_vision_checkpoint"]

_SIZE = 32
_TRANSFORMER: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": _SIZE,
    "patch_size": 8,
}
# At this width the usual 0.02 would leave all images with nearly the same output.
_OWN: dict[str, dict[str, Any]] = {
    "vit": {**_TRANSFORMER, "initializer_range": 0.1},
    "clip_vision_model": {**_TRANSFORMER, "initializer_factor": 3.0},
    "siglip_vision_model": _TRANSFORMER,
    "convnext": {"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2, "initializer_range": 0.1},
    "resnet": {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"},
}
_PROCESSORS = {"clip_vision_model": "CLIP", "siglip_vision_model": "Siglip"}
VISION_ARCHITECTURES: tuple[str, ...] = tuple(_OWN)


def tiny_vision_checkpoint(folder: str | Path, architecture: str = "vit", *, seed: int = 0) -> Path:
    """Write a tiny vision encoder and its image processor, for images of 32 by 32 pixels.

    The same arguments give the same weights, and the random state of the caller stays as it was.

    Args:
        folder: Where to write; made if it is not there.
        architecture: One of `VISION_ARCHITECTURES`.
        seed: Seed of the weights.

    Returns:
        The folder.

    Raises:
        ArgumentError: If the architecture has no tiny version.
    """
    if architecture not in _OWN:
        raise ArgumentError(f"architecture must be one of {sorted(_OWN)}, but is '{architecture}'.")
    config = AutoConfig.for_model(architecture, **_OWN[architecture])
    with seeded_on_cpu(seed):
        model = AutoModel.from_config(config)
    folder = Path(folder)
    with quiet():
        model.save_pretrained(folder)
        _processor(architecture).save_pretrained(folder)
    return folder


def _processor(architecture: str) -> Any:
    family = _PROCESSORS.get(architecture, "ViT")
    size = {"height": _SIZE, "width": _SIZE}
    kind: Callable[..., Any] = getattr(transformers, f"{family}ImageProcessorPil")
    return kind(size={"shortest_edge": _SIZE}, crop_size=size) if family == "CLIP" else kind(size=size)
