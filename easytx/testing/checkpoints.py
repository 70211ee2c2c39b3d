"""Tiny checkpoints: the files of a pretrained model, with two layers of random weights."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, PreTrainedConfig, PreTrainedTokenizerBase

from easytx.core.loading import quiet
from easytx.errors import ArgumentError
from easytx.testing.seeds import seeded_on_cpu
from easytx.testing.tokenizers import tiny_tokenizer

__all__ = [
    "ARCHITECTURES",
    "DECODER_ARCHITECTURES",
    "LAYOUT_ARCHITECTURES",
    "SEQ2SEQ_ARCHITECTURES",
    "tiny_checkpoint",
    "tiny_config",
]

_SHARED: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
    # At this width the usual 0.02 would leave all texts with nearly the same logits.
    "initializer_range": 0.1,
}
_OWN: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {"hidden_dim": 64},
    # Positions are counted from the padding id, 1, upwards: 514 rows hold 512 tokens.
    "roberta": {"max_position_embeddings": 514, "type_vocab_size": 1},
    "electra": {"embedding_size": 16},
    "deberta-v2": {
        "relative_attention": True,
        "position_buckets": 32,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
    },
    "albert": {"embedding_size": 16},
    "mpnet": {"max_position_embeddings": 514},
    "xlm-roberta": {"max_position_embeddings": 514, "type_vocab_size": 1},
    # One layer that sees everything and one that sees 8 tokens to either side.
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 16},
    "longformer": {"max_position_embeddings": 514, "type_vocab_size": 1, "attention_window": 16},
}
ARCHITECTURES: tuple[str, ...] = tuple(_OWN)

_LAYOUT: dict[str, dict[str, Any]] = {
    "layoutlm": {},
    # Each of the six numbers of a box has a sixth of the width.
    "lilt": {"hidden_size": 48, "max_position_embeddings": 514, "type_vocab_size": 1},
}
LAYOUT_ARCHITECTURES: tuple[str, ...] = tuple(_LAYOUT)

_LAYERS: dict[str, Any] = {
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "init_std": 0.1,
}
_T5: dict[str, Any] = {"d_kv": 8, "d_ff": 64, "num_decoder_layers": 2, "decoder_start_token_id": 0}
# Their names for the number of layers and so on, where these are not those of encoders.
_SEQ2SEQ: dict[str, dict[str, Any]] = {
    "bart": {**_LAYERS, "decoder_start_token_id": 2, "forced_eos_token_id": 2},
    "blenderbot": {**_LAYERS, "decoder_start_token_id": 0, "scale_embedding": True},
    "blenderbot-small": {**_LAYERS, "decoder_start_token_id": 1, "scale_embedding": True},
    # A text starts with the padding id, which is the last one.
    "marian": {
        **_LAYERS,
        "decoder_start_token_id": "pad",
        "scale_embedding": True,
        "share_encoder_decoder_embeddings": True,
    },
    "mbart": {**_LAYERS, "forced_eos_token_id": 2, "scale_embedding": True},
    "pegasus": {**_LAYERS, "decoder_start_token_id": 0, "scale_embedding": True},
    "t5": _T5,
    "mt5": {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "byt5": {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
}
SEQ2SEQ_ARCHITECTURES: tuple[str, ...] = tuple(_SEQ2SEQ)
_DECODERS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": 512},
    "llama": {"num_key_value_heads": 2},
    "openai-gpt": {"n_positions": 512},
}
DECODER_ARCHITECTURES: tuple[str, ...] = tuple(_DECODERS)
# Published with the configuration of another architecture.
_CONFIGURED_AS = {"byt5": "t5"}


def tiny_config(architecture: str = "bert", **overrides: Any) -> PreTrainedConfig:
    """Return the config of a model with two layers of width 32, for at least 512 tokens.

    Args:
        architecture: One of `ARCHITECTURES`, `LAYOUT_ARCHITECTURES`, `DECODER_ARCHITECTURES` or
            `SEQ2SEQ_ARCHITECTURES`.
        **overrides: Values for the config. `hidden_size`, `num_hidden_layers` and `num_attention_heads` work
            for every architecture, whatever its own names for them are.

    Raises:
        ArgumentError: If the architecture has no tiny version, or an override is no part of its config.
    """
    return _config(architecture, tiny_tokenizer(architecture), overrides)


def tiny_checkpoint(
    folder: str | Path,
    architecture: str = "bert",
    *,
    head: str | None = None,
    seed: int = 0,
    **config_overrides: Any,
) -> Path:
    """Write a tiny model and its tokenizer to a folder that `from_pretrained` opens.

    The same arguments give the same weights, and the random state of the caller stays as it was.

    Args:
        folder: Where to write; made if it is not there.
        architecture: One of `ARCHITECTURES`, `LAYOUT_ARCHITECTURES`, `DECODER_ARCHITECTURES` or
            `SEQ2SEQ_ARCHITECTURES`.
        head: Name of the Auto class whose model is written, such as "AutoModelForSequenceClassification".
            By default the bare encoder, as in a checkpoint that was only pretrained; and encoder and decoder with
            a language model's head for `SEQ2SEQ_ARCHITECTURES`. Decoders have that head too.
        seed: Seed of the weights.
        **config_overrides: As for `tiny_config`; `dtype="bfloat16"` gives weights of half precision.

    Returns:
        The folder.

    Raises:
        ArgumentError: If the architecture, the head or an override is unknown.
    """
    heads = {**dict.fromkeys(_SEQ2SEQ, "AutoModelForSeq2SeqLM"), **dict.fromkeys(_DECODERS, "AutoModelForCausalLM")}
    default = heads.get(architecture, "AutoModel")
    auto_class: Any = getattr(transformers, head or default, None)
    if not hasattr(auto_class, "from_config"):
        raise ArgumentError(f"head must be the name of an Auto class for models, but is {head!r}.")
    tokenizer = tiny_tokenizer(architecture)
    config = _config(architecture, tokenizer, config_overrides)
    folder = Path(folder)
    with seeded_on_cpu(seed):
        model = auto_class.from_config(config, dtype=config.dtype or torch.float32)
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _config(architecture: str, tokenizer: PreTrainedTokenizerBase, overrides: dict[str, Any]) -> PreTrainedConfig:
    """Return the config that fits this tokenizer."""
    default = AutoConfig.for_model(_CONFIGURED_AS.get(architecture, architecture))
    own = {**_OWN, **_LAYOUT, **_DECODERS, **_SEQ2SEQ}[architecture]
    for name in overrides:
        # Some settings are read from a config without being declared by its class.
        if not hasattr(default, name) and name not in own:
            close = get_close_matches(name, [*default.to_dict(), *default.attribute_map, "num_labels"], n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise ArgumentError(f"The config of '{architecture}' has no '{name}'.{hint}")
    writes = architecture in _SEQ2SEQ or architecture in _DECODERS
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id if writes else tokenizer.cls_token_id,
        "cls_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.eos_token_id if writes else tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
    }
    values: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        **{name: value for name, value in ids.items() if getattr(default, name, None) is not None},
    }
    if own.get("decoder_start_token_id") == "pad":
        own = {**own, "decoder_start_token_id": tokenizer.pad_token_id}
    for name, value in {**_SHARED, **own, **overrides}.items():
        if hasattr(default, name) or name not in _SHARED:
            values[default.attribute_map.get(name, name)] = value
    return type(default)(**values)
