"""Encoders with decoders: made of two checkpoints, made from scratch, and what starts and ends their texts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from easytx.core import loading
from easytx.errors import CheckpointError
from easytx.training.generation import shifted_right

_PAIR = "encoder-decoder"
# What reads and what writes, in configurations of several models.
_PARTS = {_PAIR: ("encoder", "decoder"), "rag": ("question_encoder", "generator")}
_IDS = ("decoder_start_token_id", "eos_token_id", "pad_token_id")


def is_pair(config: Any) -> bool:
    """Tell whether a model is made of two that were trained apart."""
    return bool(config.model_type == _PAIR)


def reader(config: Any) -> Any:
    """Return the configuration of what reads."""
    return getattr(config, _PARTS[config.model_type][0]) if config.model_type in _PARTS else config


def writer(config: Any) -> Any:
    """Return the configuration of what writes."""
    return getattr(config, _PARTS[config.model_type][1]) if config.model_type in _PARTS else config


def load_config(names: tuple[str, str | None], *, options: Mapping[str, Any], changes: Mapping[str, Any]) -> Any:
    """Return the configuration of an encoder with a decoder.

    Args:
        names: A model, and None; or the encoder and the decoder. Folders or hub names.
        options: For `from_pretrained`.
        changes: Fields to set in it.

    Raises:
        ArgumentError: If the configuration has no such field.
        CheckpointError: If it only reads, or the decoder cannot attend to an encoder.
    """
    name, decoder = names
    if decoder is not None:
        return loading.changed(pair_config(name, decoder, options=options), changes)
    config = loading.load_config(name, options=options, changes=changes)
    if not config.is_encoder_decoder:
        raise CheckpointError(
            f"'{name}' is a {config.model_type} model, which is an encoder or a decoder alone. "
            "Give encoder_name and decoder_name, or a model that is both."
        )
    return config


def load_network(
    auto_class: str, config: Any, names: tuple[str | None, str | None], *, seed: int, options: Mapping[str, Any]
) -> Any:
    """Return the model with its weights; those that no checkpoint has are drawn with `seed`.

    Args:
        auto_class: Which of transformers' classes opens a model that is both.
        config: Its configuration.
        names: A model, and None; or the encoder and the decoder; or twice None for new weights.
        seed: For what is new.
        options: For `from_pretrained`.
    """
    name, decoder = names
    if name is None:
        return loading.new_network(auto_class, config, seed=seed)
    if decoder is not None:
        return pair_network(config, name, decoder, seed=seed, options=options)
    return loading.load_weights(auto_class, name, config, seed=seed, options=options)


def pair_config(encoder: str, decoder: str, *, options: Mapping[str, Any]) -> Any:
    """Return the configuration of an encoder whose states a decoder attends to.

    Args:
        encoder: A folder or a hub name.
        decoder: The same, of the other.
        options: For `from_pretrained`.

    Raises:
        CheckpointError: If the decoder's architecture cannot attend to an encoder.
    """
    from transformers import AutoModelForCausalLM, EncoderDecoderConfig

    first, second = (loading.load_config(name, options=options, changes={}) for name in (encoder, decoder))
    kinds: Any = AutoModelForCausalLM._model_mapping
    forward = inspect.signature(kinds[type(second)].forward).parameters if type(second) in kinds else {}
    if "encoder_hidden_states" not in forward:
        raise CheckpointError(
            f"'{decoder}' is a {second.model_type} model, which cannot attend to an encoder. "
            "Give a decoder_name of another type, such as a bert or roberta model."
        )
    return EncoderDecoderConfig.from_encoder_decoder_configs(first, second)


def pair_network(config: Any, encoder: str, decoder: str, *, seed: int, options: Mapping[str, Any]) -> Any:
    """Return an encoder and a decoder as one model; the attention between them is new and drawn with `seed`."""
    import torch
    from transformers import EncoderDecoderModel

    first = loading.load_weights("AutoModel", encoder, config.encoder, seed=seed, options=options)
    second = loading.load_weights("AutoModelForCausalLM", decoder, config.decoder, seed=seed, options=options)
    with loading.quiet(), torch.random.fork_rng():
        # Where the two are of different widths, a new layer is between them.
        torch.manual_seed(seed)
        network = EncoderDecoderModel(config=config, encoder=first, decoder=second)
    for name in _IDS:
        setattr(network.generation_config, name, getattr(config, name))
    return network


def start_and_end(config: Any, tokenizer: Any) -> None:
    """Set in a configuration which ids start, end and pad the texts that a tokenizer reads, where it is silent."""
    for name, value in _ids(tokenizer).items():
        if getattr(config, name, None) is None:
            setattr(config, name, value)


def _ids(tokenizer: Any) -> dict[str, int | None]:
    first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id if first is None else first,
    }


def new_config(model_type: str, tokenizer: Any, changes: Mapping[str, Any]) -> Any:
    """Return the configuration of a model that is to be trained from scratch.

    Args:
        model_type: An architecture with an encoder and a decoder.
        tokenizer: Its tokenizer.
        changes: Fields to set, such as the number of layers.

    Raises:
        ArgumentError: If the configuration has no such field.
        CheckpointError: If there is no such architecture.
    """
    from transformers import AutoConfig

    kind = loading.canonical_type(model_type)
    try:
        usual = AutoConfig.for_model(kind)
    except ValueError as error:
        raise CheckpointError(f"transformers has no architecture '{model_type}'.") from error
    loading.changed(usual, changes)
    values = {"vocab_size": len(tokenizer), **_ids(tokenizer)}
    if getattr(usual, "decoder_vocab_size", None) is not None:
        values["decoder_vocab_size"] = len(tokenizer)
    if getattr(usual, "forced_eos_token_id", None) is not None:
        values["forced_eos_token_id"] = values["eos_token_id"]
    # Made with all values at once, because some follow from others: T5 writes with as many layers as it reads with.
    return AutoConfig.for_model(kind, **{**values, **changes})


def fit_vocabulary(network: Any, tokenizer: Any, target_tokenizer: Any) -> None:
    """Make room in a model's embeddings for tokens that were added to its tokenizers."""
    names = _PARTS.get(network.config.model_type)
    parts = (network,) if names is None else (getattr(network, name) for name in names)
    for part, its in zip(parts, (tokenizer, target_tokenizer), strict=False):
        if len(its) > part.get_input_embeddings().num_embeddings:
            part.resize_token_embeddings(len(its), mean_resizing=False)


def shifting(network: Any) -> Any:
    """Return what makes a decoder's inputs of labels: the network, or where it has no such method, one in its place.

    M2M100, which NLLB is, and Blenderbot have none.
    """
    if hasattr(network, "prepare_decoder_input_ids_from_labels"):
        return network
    config = network.config
    first, pad = config.decoder_start_token_id, config.pad_token_id
    return SimpleNamespace(
        prepare_decoder_input_ids_from_labels=lambda labels: shifted_right(labels, first=first, pad=pad)
    )
