"""From documents to what a language model reads, as its arguments say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from datasets import Dataset

from easytx.config.model_args import ModelArgs
from easytx.config.warn import warn_user
from easytx.core.loading import max_tokens
from easytx.data.checks import counted
from easytx.data.prepared import TaskData
from easytx.errors import ArgumentError, DataError
from easytx.language_modeling.blocks import Cutting, block_columns, blocks, truncated
from easytx.language_modeling.reading import streamed as streamed_texts

if TYPE_CHECKING:
    from easytx.language_modeling.checkpoint import LanguageCheckpoint


def blocks_of(model: LanguageCheckpoint, texts: Sequence[str], split: str, name: str) -> Dataset:
    """Return documents as blocks, from the cache where that is wanted, and warn about cut ones.

    Args:
        model: Whose tokenizer and arguments count.
        texts: The documents.
        split: "train" or "eval".
        name: What to call the documents in messages.

    Raises:
        DataError: If there is nothing in them to predict.
        ArgumentError: If a block would be longer than the model can read.
    """
    how = cutting(model)
    dataset = model.cached(lambda: blocks(model.tokenizer, texts, how), split, texts, how)
    if len(dataset) == 0:
        raise DataError(f"{name} has no text in which a token could be predicted: its documents are too short.")
    cut = truncated(dataset)
    if cut:
        warn_user(
            f"{cut} of {counted(len(texts), 'document')} of {name} are longer than {how.block_size} tokens and were "
            "cut. Set chunk_text=True to read all of them."
        )
    return dataset


def streamed(model: LanguageCheckpoint, rows: Any, *, name: str) -> TaskData:
    """Return documents that are read and cut while training."""
    if model.args["rag"]:
        raise ArgumentError("rag looks up passages before a training, and stream_hf_datasets reads rows while it runs.")
    how = cutting(model)
    texts = streamed_texts(rows, name=name, args=model.args)

    def cut(batch: dict[str, list[str]]) -> dict[str, Any]:
        return block_columns(model.tokenizer, batch["text"], how)

    dataset: Any = texts.map(cut, batched=True, remove_columns=["text"])
    return TaskData(pd.DataFrame({"text": []}, dtype="str"), dataset, name=name, labelled=True)


def cutting(model: LanguageCheckpoint) -> Cutting:
    """Return how the arguments want documents to be cut."""
    args, causal = model.args, model.objective.causal
    refuse_autoencoder(args)
    size = block_size(model)
    given = 0 if causal else int(model.tokenizer.num_special_tokens_to_add())
    room = size - given
    # With one token of the block before it, the first token of a block can be predicted too.
    least = 1 if causal else 0
    overlap: int | None = None
    if args["sliding_window"]:
        step = int(args["stride"] * room) if args["stride"] <= 1 else int(args["stride"])
        overlap = min(max(room - step, least), room - 1)
    elif args["chunk_text"]:
        overlap = least
    return Cutting(size, overlap, causal=causal, whole_words=bool(args["whole_word_mask"]))


def block_size(model: LanguageCheckpoint) -> int:
    """Return the tokens of a block: `block_size`, or what fits of `max_seq_length`.

    Raises:
        ArgumentError: If the model cannot read blocks of that size.
    """
    args, limit = model.args, max_tokens(model.config, model.tokenizer)
    wanted = int(args["block_size"])
    if wanted <= 0:
        return args.max_seq_length if limit is None else min(args.max_seq_length, limit)
    if limit is not None and wanted > limit:
        raise ArgumentError(
            f"block_size is {wanted}, but '{args.model_name}' reads at most {limit} tokens. "
            f"Set block_size={limit} or less."
        )
    if wanted < 4:
        raise ArgumentError(f"block_size must be 4 tokens or more, or -1 for max_seq_length, but is {wanted}.")
    return wanted


def refuse_autoencoder(args: ModelArgs) -> None:
    """Raise if texts are to be read by an autoencoder.

    Raises:
        ArgumentError: Saying so.
    """
    if args["use_autoencoder"]:
        raise ArgumentError("LanguageModelingModel cannot use 'use_autoencoder': it reads the texts as they are.")
