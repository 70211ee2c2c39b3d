"""From rows to features as the arguments say, and from outputs to what the answers need."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from easytx.config.model_args import ModelArgs
from easytx.config.warn import warn_user
from easytx.conv_ai.choosing import reply_loss
from easytx.conv_ai.data import Cutting, features, permuted, rows_cut, turns_of
from easytx.core import loading
from easytx.data.checks import counted
from easytx.training.generation import row_losses

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

    from easytx.conv_ai.checkpoint import ChatCheckpoint
    from easytx.training.losses import LossFunction


def offers_choice(frame: pd.DataFrame, args: ModelArgs) -> bool:
    """Tell whether rows to train on have candidates, and the arguments want them to be chosen between."""
    if "candidates" not in frame or args["mc_coef"] == 0 or args["num_candidates"] == 1:
        return False
    return any(len(candidates) > 1 for candidates in frame["candidates"])


def prepared(model: ChatCheckpoint, frame: pd.DataFrame, split: str, name: str) -> Dataset:
    """Return rows as features, from the cache where that is wanted, and warn of what was left out.

    Args:
        model: Whose tokenizer and arguments count.
        frame: As `as_turns` gives it.
        split: "train", "eval" or "predict".
        name: What to call the rows in messages.

    Raises:
        ArgumentError: If rows would be longer than the model can read, or next to nothing of them would be read.
    """
    args, chat = model.args, model.chat
    loading.check_max_length(args.max_seq_length, model.config, model.tokenizer, str(args.model_name))
    reserved = 0 if chat.reads_apart else args["max_new_tokens"] or args["max_length"]
    cutting = Cutting(args.max_seq_length, reserved, args["max_history"])
    together = split == "train"
    turns = turns_of(frame, cutting.max_history)
    numbered = permuted(turns, args["personality_permutations"] if together else 1)
    replies = None if split == "predict" else replies_of(model, frame, split)
    dataset = model.cached(
        lambda: features(chat, numbered, replies, cutting, together=together),
        split,
        [repr(turn) for turn in numbered],
        repr(replies),
        cutting,
        model.tokenizer.chat_template,
    )
    number = rows_cut(dataset)
    if number:
        warn_user(
            f"{number} of {counted(len(frame), 'row')} of {name} are longer than max_seq_length={args.max_seq_length} "
            f"tokens, of which {reserved} are kept for the reply. The oldest utterances were left out, then the "
            "beginning of the newest, then the ends of replies. Set a higher max_seq_length to read more."
        )
    return dataset


def replies_of(model: ChatCheckpoint, frame: pd.DataFrame, split: str) -> list[list[str]]:
    """Return the replies of each row that are read: the true one, last, and what else there is to choose from."""
    if "candidates" not in frame or (split == "train" and not model.chooses):
        return [[reply] for reply in frame["reply"]]
    most = model.args["num_candidates"] if split == "train" else 0
    return [list(candidates[-most:]) for candidates in frame["candidates"]]


def kept(outputs: Any, labels: torch.Tensor, *, shifts: bool) -> torch.Tensor:
    """Return the summed loss of each reply's tokens, their number and, where there is one, its score.

    Args:
        outputs: Of the model.
        labels: Of shape (sequences, tokens).
        shifts: Whether a token's label is the next token.
    """
    losses = row_losses(outputs.logits, labels, shifts_labels=shifts)
    points = outputs.get("choice_logits")
    return losses if points is None else torch.cat([losses, points.float()[:, None]], dim=1)


def loss_of_replies(args: ModelArgs, *, shifts: bool) -> LossFunction | None:
    """Return the mean loss of the tokens of replies; None where a seq2seq model's own will do.

    Args:
        args: For `label_smoothing_factor`.
        shifts: Whether a token's label is the next token.
    """
    smoothing = args.label_smoothing_factor
    if shifts:
        return functools.partial(reply_loss, smoothing=smoothing)
    if not smoothing:
        return None
    return lambda logits, labels: functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), label_smoothing=smoothing
    )


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows with history and personality as texts of several lines."""
    texts = {name: frame[name].map("\n".join) for name in ("personality", "history")}
    return frame.assign(**texts)
