"""Texts for a decoder to go on from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from easytx.config.warn import warn_user
from easytx.core.loading import has_head, max_tokens
from easytx.data.checks import counted, with_article
from easytx.errors import ArgumentError, CheckpointError

if TYPE_CHECKING:
    from easytx.core.checkpointed import CheckpointedModel


def at_terminal() -> bool:
    """Tell whether somebody can type: not in a notebook, and not where the input is no terminal."""
    shell = sys.modules.get("IPython")
    in_notebook = shell is not None and hasattr(shell.get_ipython(), "kernel")
    return not in_notebook and sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def check_writes(config: Any, name: str, *, needs: str) -> None:
    """Raise if a model reads texts and writes none: an encoder that has not been made a decoder.

    Args:
        config: The model's configuration.
        name: Its name.
        needs: What to say of what is needed.

    Raises:
        CheckpointError: With what it is.
    """
    writes = config.is_encoder_decoder or getattr(config, "is_decoder", False) or config.model_type == "xlm"
    if not writes and has_head("AutoModelForMaskedLM", config):
        kind = with_article(config.model_type)
        raise CheckpointError(f"'{name}' is {kind} model, which reads texts but writes none. {needs}")


def check_written(what: str, length: int, limit: int, name: str) -> None:
    """Raise if texts would be longer than the model can write; `what` is the argument that says how long.

    Raises:
        ArgumentError: With the longest length possible.
    """
    if length > limit:
        raise ArgumentError(
            f"{what} is {length}, but '{name}' writes at most {limit} tokens. Set {what}={limit} or less."
        )


def chat_prompts(
    tokenizer: Any, texts: Sequence[str], *, user_role: str, system_role: str, system_prompt: str
) -> list[list[int]]:
    """Return texts as the ids of chats that wait for an answer, as the tokenizer's template has it.

    Args:
        tokenizer: With a chat template.
        texts: What the user says, one text a chat.
        user_role: What the template calls the user.
        system_role: What it calls who says `system_prompt`.
        system_prompt: What each chat begins with; empty for nothing.

    Raises:
        ArgumentError: If the tokenizer has no template.
    """
    if tokenizer.chat_template is None:
        raise ArgumentError(
            "apply_chat_template is set, but the tokenizer has no chat template. Leave it out, or set "
            "model.tokenizer.chat_template."
        )
    first = [{"role": system_role, "content": system_prompt}] if system_prompt else []
    chats = [[*first, {"role": user_role, "content": text}] for text in texts]
    rendered = tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=False)
    # The template has put its special tokens already.
    ids: list[list[int]] = tokenizer(rendered, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def text_prompts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return texts as ids; one without any begins with the token that begins, or else ends, a text."""
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    ids = tokenizer(list(texts), verbose=False)["input_ids"]
    return [own or [first] for own in ids]


def prompt_rows(model: CheckpointedModel, ids: Sequence[list[int]], *, new_tokens: int, name: str) -> Dataset:
    """Return prompts as features; of one that leaves no room for the new tokens only the end is read, with a warning.

    Args:
        model: What goes on from them.
        ids: One list of ids a prompt.
        new_tokens: Most tokens to be written.
        name: What to call the prompts in messages.

    Raises:
        ArgumentError: If the new tokens alone are more than the model can read.
    """
    limit = max_tokens(model.config, model.tokenizer)
    room = None if limit is None else limit - new_tokens
    if room is not None and room < 1:
        raise ArgumentError(
            f"{new_tokens} new tokens are wanted, but '{model.args.model_name}' reads at most {limit}, the prompt "
            "included. Set a lower max_length."
        )
    kept = [own if room is None else own[-room:] for own in ids]
    cut = sum(len(own) < len(whole) for own, whole in zip(kept, ids, strict=True))
    if cut:
        warn_user(f"{cut} of {counted(len(ids), 'prompt')} of {name} are too long, and only their ends are read.")
    lengths = np.fromiter(map(len, kept), dtype=np.int64, count=len(kept))
    table = {
        "input_ids": pa.array(kept, type=pa.list_(pa.int32())),
        "attention_mask": pa.array([[1] * size for size in lengths.tolist()], type=pa.list_(pa.int8())),
        "row": np.arange(len(kept)),
        "length": lengths,
    }
    return Dataset(pa.table(table))
