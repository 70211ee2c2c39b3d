"""Two texts a row as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from easytx.core.loading import check_max_length, positions
from easytx.core.prompting import check_written
from easytx.data.checks import warn_about_truncation
from easytx.data.tables import lists_of
from easytx.data.tokenise import column, encode, lengths_of, truncated_rows, with_column
from easytx.seq2seq.networks import reader, writer
from easytx.seq2seq.tokenizers import identity

if TYPE_CHECKING:
    from easytx.core.generative_model import GenerativeModel


def features(
    model: GenerativeModel, texts: Sequence[str], targets: Sequence[str] | None, split: str, name: str
) -> Dataset:
    """Return texts as `encode_texts` does, from the cache where that is wanted, and warn about cut ones.

    Args:
        model: Whose tokenizers and arguments count.
        texts: One text a row.
        targets: The text to write for each; None for none.
        split: "train", "eval" or "predict".
        name: What to call the rows in messages.
    """
    both = (model.tokenizer, model.target_tokenizer)
    lengths = most_tokens(model.args, model.config, both)
    made_from = (texts, targets or (), lengths, identity(both))
    dataset = model.cached(lambda: encode_texts(both, texts, targets, lengths), split, *made_from)
    warn_about_cut_texts(dataset, lengths, name=name)
    return dataset


def most_tokens(args: Any, config: Any, tokenizers: tuple[Any, Any]) -> tuple[int, int]:
    """Return how many tokens an input and a target may have, special tokens included.

    Raises:
        ArgumentError: If the model cannot read or write as many.
    """
    limit, own = positions(writer(config), written=True), tokenizers[1].model_max_length
    asked = args["max_target_length"]
    # Not told how long targets are, a model that writes less than it reads writes what it can.
    apart = hasattr(config, "max_decoder_position_embeddings")
    target = asked or (min(args.max_seq_length, limit or own) if apart else args.max_seq_length)
    check_max_length(args.max_seq_length, reader(config), tokenizers[0], str(args.model_name))
    if limit is not None:
        what = "max_target_length" if asked else "max_seq_length"
        check_written(what, target, min(limit, own), str(args.model_name))
    return args.max_seq_length, target


def encode_texts(
    tokenizers: tuple[Any, Any], inputs: Sequence[str], targets: Sequence[str] | None, most: tuple[int, int]
) -> Dataset:
    """Return texts as features: the columns of `encode`, and with targets `labels` and `cut_target`.

    `length` counts the tokens of both texts.

    Args:
        tokenizers: Those of the inputs and of the targets.
        inputs: One text a row.
        targets: The text to write for each; None for none.
        most: Tokens of an input and of a target at most, special tokens included.
    """
    dataset = encode(tokenizers[0], inputs, max_length=most[0])
    # All of an input is one text, so types say nothing; and pairs of models do not take them when they write.
    dataset = dataset.remove_columns([name for name in dataset.column_names if name == "token_type_ids"])
    if targets is None:
        return dataset
    end = missing_end(tokenizers[1])
    written = encode(tokenizers[1], targets, max_length=most[1] - len(end), is_target=True)
    lengths = lengths_of(dataset) + lengths_of(written) + len(end)
    dataset = with_column(dataset.remove_columns("length"), "length", lengths)
    dataset = with_column(dataset, "labels", _ended(written, end))
    return with_column(dataset, "cut_target", column(written, "cut"))


def _ended(written: Dataset, end: list[int]) -> pa.ChunkedArray | pa.Array:
    """Return the ids of the texts, each with the end behind it."""
    ids = written.data.column("input_ids")
    if not end:
        return ids
    lengths = lengths_of(written)
    places, ends = np.repeat(np.cumsum(lengths), len(end)), np.tile(end, len(lengths))
    flat = ids.combine_chunks().flatten().to_numpy()
    return lists_of(np.insert(flat, places, ends), lengths + len(end), pa.int32())


def missing_end(tokenizer: Any) -> list[int]:
    """Return the id that ends a text, where the tokenizer does not put one there itself, as GPT-2's does not.

    Without it a model would never learn to end.
    """
    ids = tokenizer(text_target="a")["input_ids"]
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None}
    return [] if ends & set(ids) or tokenizer.eos_token_id is None else [tokenizer.eos_token_id]


def warn_about_cut_texts(dataset: Dataset, most: tuple[int, int], *, name: str) -> None:
    """Warn, once for inputs and once for targets, with their number, if texts were longer than the bounds."""
    cut = (truncated_rows(dataset), int(column(dataset, "cut_target").sum()) if "labels" in dataset.column_names else 0)
    for number, length, what in zip(cut, most, ("max_seq_length", "max_target_length"), strict=True):
        warn_about_truncation(number, len(dataset), length, name=name, remedy=f"Set a higher {what}.", what=what)
