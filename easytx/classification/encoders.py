"""The two encoders of a network for texts and images: their configurations, weights and image processor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig

from easytx.classification.fusion import (
    TextImageConfig,
    TextImageForSequenceClassification,
    encoder_class,
    encoder_options,
    network_class,
    width_of,
)
from easytx.config.fields import closest
from easytx.config.warn import warn_user
from easytx.core import loading
from easytx.errors import ArgumentError, CheckpointError

# A small residual network (He et al. 2016, "Deep Residual Learning for Image Recognition") with one block a stage:
# in 300 steps it learnt the shapes of small drawings, of which a ConvNeXt of the same size knew the colours only.
NEW_ENCODER: Mapping[str, Any] = {
    "model_type": "resnet",
    "embedding_size": 32,
    "hidden_sizes": [32, 64, 128],
    "depths": [1, 1, 1],
    "layer_type": "basic",
}
NEW_IMAGE_SIZE = 64

# Options of `from_pretrained` that concern where models are looked for, not which version of one.
_SHARED_OPTIONS = {"cache_dir", "force_download", "local_files_only", "proxies", "token", "trust_remote_code"}

# Pixels that cost about as much as a token of text: a patch of 16 by 16.
_PIXELS_PER_TOKEN = 256


def vision_config(name: str | None, changes: Mapping[str, Any], options: Mapping[str, Any]) -> PreTrainedConfig:
    """Return the configuration of a vision encoder.

    Args:
        name: Where the encoder comes from; None for a new one.
        changes: Fields of a new encoder's configuration; `model_type` names its architecture.
        options: For `from_pretrained`.

    Raises:
        ModelNotFoundError: If there is no such model.
        CheckpointError: If it reads no images.
        ArgumentError: If a new one has no such fields, or both a name and fields are given.
    """
    if name is None:
        return _new_config(changes)
    if changes:
        raise ArgumentError("Give vision_name for an encoder that is there, or vision_config for a new one, not both.")
    source = loading.resolve_name(name)
    config = loading.load_config(source, options=shared(options), changes={})
    # CLIP and its kin are saved with a text encoder beside.
    config = getattr(config, "vision_config", config)
    _check_reads_images(config, name)
    return config  # type: ignore[no-any-return]


def joined(config: TextImageConfig, text: str, vision: str | None, *, seed: int, options: Mapping[str, Any]) -> Any:
    """Return a network of two encoders with a new head, in float32.

    Args:
        config: Its configuration.
        text: Where the text encoder comes from.
        vision: Where the vision encoder comes from; None for a new one.
        seed: What new weights are drawn with; the caller's random state stays as it is.
        options: For `from_pretrained`.
    """
    of_text, of_image = config.text_config, config.vision_config
    kind = encoder_class(of_text).__name__
    encoder = loading.load_weights(kind, text, of_text, seed=seed, options={**options, **encoder_options(of_text)})
    seen = None
    if vision is not None:
        source, more = loading.resolve_name(vision), {**shared(options), **encoder_options(of_image)}
        seen = loading.load_weights("AutoModel", source, of_image, seed=seed, options=more)
    with loading.quiet(), torch.random.fork_rng():
        torch.manual_seed(seed)
        network: Any = TextImageForSequenceClassification(config, text_model=encoder, vision_model=seen)
    return network.eval()


def image_processor(name: str | Path | None, config: PreTrainedConfig, options: Mapping[str, Any]) -> Any:
    """Return what makes pixels of images, in numpy and Pillow, so that they are the same on every machine.

    Args:
        name: Where the processor comes from; None for that of a new encoder.
        config: Of the vision encoder.
        options: For `from_pretrained`.

    Raises:
        ModelNotFoundError: If there is none at this place.
    """
    import transformers

    if name is None:
        size = getattr(config, "image_size", None)
        height, width = (size, size) if isinstance(size, int) else size or (NEW_IMAGE_SIZE, NEW_IMAGE_SIZE)
        # The class of this name needs torchvision in some versions.
        kind: Any = getattr(transformers, "ViTImageProcessorPil", None) or transformers.ViTImageProcessor
        return kind(size={"height": int(height), "width": int(width)})
    source = loading.resolve_name(name)
    with loading.quiet(), loading.named_errors(source):
        return transformers.AutoImageProcessor.from_pretrained(source, backend="pil", **shared(options))


def image_cost(processor: Any) -> int:
    """Return how many tokens of text an image costs about as much as, for batches that fit."""
    size = getattr(processor, "crop_size", None) or getattr(processor, "size", None) or {}
    edge = size.get("shortest_edge") or NEW_IMAGE_SIZE
    pixels = (size.get("height") or edge) * (size.get("width") or edge)
    return max(1, int(pixels) // _PIXELS_PER_TOKEN)


def shared(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that hold for any model, not for the text encoder alone, such as its revision."""
    return {name: value for name, value in options.items() if name in _SHARED_OPTIONS}


def _new_config(changes: Mapping[str, Any]) -> PreTrainedConfig:
    wanted = {**NEW_ENCODER, **changes}
    kind = str(wanted.pop("model_type"))
    if kind != NEW_ENCODER["model_type"]:
        wanted = {name: value for name, value in changes.items() if name != "model_type"}
    if not changes:
        warn_user(
            "No vision encoder was named, so a small new one is trained from nothing. For photographs name one that "
            'has seen many, such as vision_name="google/vit-base-patch16-224-in21k".'
        )
    size = wanted.pop("image_size", NEW_IMAGE_SIZE)
    try:
        default = AutoConfig.for_model(kind)
    except ValueError as error:
        raise ArgumentError(f"vision_config has the model_type '{kind}', which transformers does not know.") from error
    for name in wanted:
        if not hasattr(default, name):
            raise ArgumentError(
                f"vision_config sets '{name}', which a {kind} model does not have.{closest(name, default.to_dict())}"
            )
    _check_reads_images(default, kind)
    config = type(default)(**wanted)
    config.image_size = size
    return config


def _check_reads_images(config: PreTrainedConfig, name: str) -> None:
    if getattr(network_class(config), "main_input_name", None) != "pixel_values":
        raise CheckpointError(
            f"'{name}' is a {config.model_type} model, which reads no images. Name a vision encoder, such as a ViT, "
            "the one of a CLIP or SigLIP model, or a ResNet."
        )
    if width_of(config) == 0:
        raise CheckpointError(f"'{name}' is a {config.model_type} model, which does not say how wide its output is.")
