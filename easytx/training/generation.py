"""The one loop that writes texts: the counterpart of `inference.run`."""

from __future__ import annotations

import contextlib
import copy
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.nn import functional as F

from easytx.training.batching import token_budget_batches
from easytx.training.copies import cast_copy
from easytx.training.inference import Collator, fill_from_all_ranks, reader, share_of_this_rank
from easytx.training.precision import autocast
from easytx.training.smaller import SmallerBatches

# The ids of a row's texts, one array of shape (tokens,) each.
Tokens = list[np.ndarray]

# Fields of a GenerationConfig that transformers warns of where they do not apply.
_LENGTHS = ("max_length", "min_length", "max_new_tokens", "min_new_tokens")
_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
_BEAMS = ("early_stopping", "length_penalty")

_PROMPT_COLUMNS = ("input_ids", "attention_mask")

_REMEDY = "Set a lower max_seq_length, max_new_tokens, num_beams or num_return_sequences, or take a smaller model."


def generate(
    network: Any,
    dataset: Dataset,
    collator: Collator,
    *,
    options: Mapping[str, Any],
    device: torch.device,
    dtype: torch.dtype | None,
    token_budget: int,
    max_rows: int | None = None,
    seed: int | None = None,
    prompt_columns: tuple[str, ...] = _PROMPT_COLUMNS,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
    **extras: Any,
) -> list[Tokens]:
    """Return the ids of the texts that a network writes for each row of a dataset, in its order.

    The ids are those of new tokens: without the prompt of a decoder and without padding. The network's mode and the
    random state are as before afterwards. Under a distributed launch the rows are split over the ranks and each rank
    gets all the texts.

    Args:
        network: Of transformers, on `device`.
        dataset: Unpadded rows; `input_ids` are read by an encoder, or continued by a decoder.
        collator: Pads a list of rows to a batch: on the left for decoders, as `prompt_collator` does.
        options: Fields of a GenerationConfig, as `generation_kwargs` gives them, and token ids where the network's own
            are not right; all else is as the network's own GenerationConfig says.
        device: Where the network is.
        dtype: Autocast to it, or None.
        token_budget: Most tokens of a batch: those read and those to come, of all beams and texts.
        max_rows: Most rows of a batch, or None.
        seed: Decides what is drawn, with the rows and their batches; None draws something else each time.
        prompt_columns: What the network is told of a row, where the dataset has it.
        progress: Wraps the batches, given their number.
        **extras: For the network's `generate`, such as `streamer` or `stopping_criteria`.

    Raises:
        OutOfMemoryError: If a single row does not fit into the memory; batches that do not fit are made smaller.
    """
    config = settings(network.generation_config, options)
    read = reader(dataset, [name for name in prompt_columns if name in dataset.column_names])
    copies = max(config.num_beams or 1, config.num_return_sequences or 1)
    lengths = np.fromiter(map(len, dataset["input_ids"]), dtype=np.int64, count=len(dataset))
    lengths = (lengths + config.max_new_tokens) * copies
    batches = token_budget_batches(lengths, token_budget, max_rows=max_rows)
    mine, _, ranks = share_of_this_rank(batches)
    texts: list[Any] = [None] * len(dataset)
    smaller = SmallerBatches(lengths, device, remedy=_REMEDY)
    writer: Any = cast_copy(network, device, dtype)

    def write(batch: np.ndarray) -> None:
        inputs = {name: value.to(device) for name, value in collator(read(batch)).items()}
        sequences = writer.generate(**inputs, **extras)
        written = _new_tokens(sequences, config, start=_first_new(network, inputs["input_ids"]))
        share = len(written) // len(batch)
        for place, position in enumerate(batch):
            texts[position] = written[place * share : (place + 1) * share]

    with (
        torch.no_grad(),
        autocast(device, dtype),
        generating(writer, config),
        _drawn_with(seed, device, apart=config.do_sample),
    ):
        for batch in progress(mine, len(mine)) if progress else mine:
            smaller.compute(batch, write)
    smaller.tell()
    if ranks > 1:
        fill_from_all_ranks(texts, mine)
    return texts


def settings(own: Any, options: Mapping[str, Any]) -> Any:
    """Return the GenerationConfig of a network with other values for some fields.

    What the network's own says of lengths goes, and what it says of sampling and of beams where there are none.

    Args:
        own: The network's; it stays as it is.
        options: The other values, `max_new_tokens` among them.
    """
    changed = copy.deepcopy(own)
    gone = [*_LENGTHS]
    gone += [] if options.get("do_sample") else _SAMPLING
    gone += [] if options.get("num_beams", 1) > 1 else _BEAMS
    for name in gone:
        setattr(changed, name, None)
    changed.update(**options)
    return changed


def prompt_collator(tokenizer: Any, *, left: bool) -> Collator:
    """Return what pads rows to a batch that texts are written for.

    Args:
        tokenizer: With a padding token.
        left: Whether padding comes first, as decoders need it: they continue the last token.
    """

    def collate(features: list[dict[str, Any]]) -> Mapping[str, torch.Tensor]:
        side = "left" if left else "right"
        batch: Mapping[str, torch.Tensor] = tokenizer.pad(
            features, padding=True, padding_side=side, return_tensors="pt", verbose=False
        )
        return batch

    return collate


def token_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross entropy of labelled tokens, in float32.

    It is what models compute of labels themselves; some warn when they are given any.

    Args:
        logits: Of shape (rows, tokens, vocabulary).
        labels: Of shape (rows, tokens); -100 where there is none.
    """
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())


def row_losses(logits: torch.Tensor, labels: torch.Tensor, *, shifts_labels: bool = False) -> torch.Tensor:
    """Return the sum of the cross entropy of each row's labelled tokens, and their number, of shape (rows, 2).

    Args:
        logits: Of shape (rows, tokens, vocabulary).
        labels: Of shape (rows, tokens); -100 where there is none.
        shifts_labels: Whether a token's label is the next token.
    """
    if shifts_labels:
        logits, labels = logits[:, :-1], labels[:, 1:]
    losses = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="none").view_as(labels)
    return torch.stack([losses.sum(dim=1), (labels != -100).sum(dim=1)], dim=1)


def shifted_right(labels: torch.Tensor, *, first: int, pad: int) -> torch.Tensor:
    """Return what a decoder is told while it learns labels: the token that starts it, then all of them but the last.

    Args:
        labels: Of shape (sequences, tokens); -100 for padding.
        first: The id that starts a decoder.
        pad: The id to pad with.
    """
    starts = torch.full_like(labels[:, :1], first)
    return torch.cat([starts, labels[:, :-1].masked_fill(labels[:, :-1] == -100, pad)], dim=1)


def _first_new(network: Any, prompts: torch.Tensor) -> int:
    """Return where new tokens start: behind the prompt, or behind the one id that starts a decoder with an encoder."""
    return 1 if network.config.is_encoder_decoder else prompts.shape[1]


def _new_tokens(sequences: torch.Tensor, config: Any, *, start: int) -> Tokens:
    """Return the ids from `start` on, up to the one that ends each text."""
    ids = sequences[:, start:].cpu().numpy().astype(np.int32)
    ended = np.isin(ids, [] if config.eos_token_id is None else config.eos_token_id)
    sizes = np.where(ended.any(axis=1), ended.argmax(axis=1) + 1, ids.shape[1])
    return [row[:size] for row, size in zip(ids, sizes, strict=True)]


@contextlib.contextmanager
def generating(network: Any, config: Any) -> Iterator[None]:
    """Have a network in evaluation mode and generate as a GenerationConfig says; it is left as it was."""
    own, was_training = network.generation_config, network.training
    # Given to `generate` instead, this one would be filled up from the network's own, with a word on what differs.
    network.generation_config = config
    network.eval()
    try:
        yield
    finally:
        network.generation_config = own
        network.train(was_training)


@contextlib.contextmanager
def _drawn_with(seed: int | None, device: torch.device, *, apart: bool) -> Iterator[None]:
    """Draw with a seed of its own, and leave the caller's random state alone."""
    if not apart:
        yield
        return
    on_cuda = device.type == "cuda"
    number = secrets.randbelow(2**31) if seed is None else seed
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        # torch.manual_seed would also reseed the other GPUs, which the fork does not undo.
        torch.default_generator.manual_seed(number)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(number)
        yield
