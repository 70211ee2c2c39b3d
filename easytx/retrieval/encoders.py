"""What of a checkpoint reads texts, whatever else there is in it, and which of its vectors stands for a text."""

from __future__ import annotations

from typing import Any

from easytx.core.loading import has_head
from easytx.data.checks import with_article
from easytx.errors import CheckpointError


def check_encoder(config: Any, name: str) -> None:
    """Raise if a checkpoint has no part that reads texts alone.

    Raises:
        CheckpointError: With what it is.
    """
    if not has_head("AutoModel", config):
        kind = with_article(config.model_type)
        raise CheckpointError(
            f"'{name}' is {kind} model, which transformers does not open as one network. Give the checkpoint of an "
            "encoder alone, such as the folder 'encoder' inside."
        )


def usual_pooling(config: Any) -> str:
    """Return which vector a text gets where the checkpoint does not say.

    An encoder was trained with a token in front that stands for all. In a decoder only the last token has seen all; and
    the encoder of an encoder-decoder has no token for it, so that the mean serves best (Ni et al. 2022, "Sentence-T5",
    https://arxiv.org/abs/2108.08877).
    """
    if config.is_encoder_decoder:
        return "mean"
    writes = has_head("AutoModelForCausalLM", config) and not has_head("AutoModelForMaskedLM", config)
    return "last" if writes else "cls"


def without_decoder(network: Any) -> Any:
    """Return an encoder-decoder whose decoder is gone, and any other network as it is.

    It is saved as before, and opens with `AutoModel` and as a part of other models, which make a decoder anew.
    """
    if network.config.is_encoder_decoder:
        network.decoder = None
    return network


def reading_part(network: Any) -> Any:
    """Return what of a network reads texts: the encoder of an encoder-decoder, or all of it."""
    return network.get_encoder() if network.config.is_encoder_decoder else network
