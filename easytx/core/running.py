"""Running a model class's model over prepared rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from easytx.config.warn import warn_user
from easytx.data.padding import TokenColumns
from easytx.data.prepared import TaskData
from easytx.training.inference import Collator, Outputs, Reduce, run
from easytx.training.precision import threads
from easytx.training.quantise import check_int8_device, dynamically_quantised

if TYPE_CHECKING:
    from datasets import Dataset

    from easytx.config.model_args import ModelArgs
    from easytx.core.base_model import BaseModel

# Tokens per inference batch at which a device is busy and its caches are still used well.
_BUSY_TOKENS = {"cpu": 1024, "mps": 16384, "cuda": 65536}

# Below this many rows a bar would only flicker.
_ROWS_FOR_A_BAR = 1000

# Most numbers of a batch's logits where each token has one for every other of the vocabulary: half a gigabyte.
_LOGITS = 2**27


def token_budget(args: ModelArgs, device_type: str, vocabulary: int = 1, rows: int | None = None) -> int:
    """Return the tokens of an inference batch: what the device does best, or what the user has set.

    Args:
        args: For `eval_batch_size` and `max_seq_length`.
        device_type: Such as "cpu" or "cuda".
        vocabulary: Logits of a token, where all of them are computed.
        rows: What the user has set instead of `eval_batch_size`.
    """
    rows = rows or most_rows(args)
    wanted = (rows or args.eval_batch_size) * args.max_seq_length
    if rows is None:
        wanted = max(wanted, _BUSY_TOKENS.get(device_type, wanted))
    return max(min(wanted, _LOGITS // vocabulary), 1)


def most_rows(args: ModelArgs) -> int | None:
    """Return the rows of an inference batch at most, or None where the user leaves it to the device."""
    return args.eval_batch_size if args.is_set("eval_batch_size") else None


def is_main_process() -> bool:
    """Tell whether this process, of all that train or evaluate together, is the one that writes files."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not distributed or torch.distributed.get_rank() == 0


def collator_of(model: BaseModel) -> TokenColumns:
    """Return what makes batches of a model's features, whatever they have for each token besides its id."""
    return TokenColumns(model.collator())


def run_model(
    model: BaseModel, data: TaskData, *, show: bool, reduce: Reduce | None = None, budget: int | None = None
) -> Outputs:
    """Return what the model says about the rows.

    Args:
        model: A model class.
        data: What it has prepared.
        show: Whether there is a bar, for more than a few rows.
        reduce: What to keep of the model's output, in place of the class's own choice.
        budget: Tokens of a batch at most; None for `token_budget`.
    """
    return run_network(
        model,
        model.model,
        data.dataset,
        collator=collator_of(model),
        reduce=reduce or model.reduce,
        show=show,
        budget=budget,
        batch_columns=model.batch_columns,
        shifts_labels=model.shifts_labels,
        loss_function=model.loss() if data.labelled else None,
    )


def run_network(
    model: BaseModel,
    network: torch.nn.Module,
    dataset: Dataset,
    *,
    collator: Collator,
    reduce: Reduce,
    show: bool,
    budget: int | None = None,
    rows: int | None = None,
    **options: Any,
) -> Outputs:
    """Return what a network, the whole of a model or a part of it, says about features.

    Args:
        model: What the network belongs to: its arguments, device and precision count.
        network: On the model's device.
        dataset: The features.
        collator: Makes batches of them.
        reduce: Keeps of an output what the answer needs.
        show: Whether there is a bar, for more than a few features.
        budget: Tokens of a batch at most; None for `token_budget`.
        rows: Features of a batch at most; None for what `eval_batch_size` says.
        **options: As for `inference.run`.
    """
    in_int8 = quantised(model)
    with threads(model.args.thread_count):
        return run(
            dynamically_quantised(network) if in_int8 else network,
            dataset,
            collator,
            reduce=reduce,
            device=model.device,
            dtype=None if in_int8 else model.precision(),
            token_budget=budget or token_budget(model.args, model.device.type, rows=rows),
            max_rows=rows or most_rows(model.args),
            compiles=model.args.torch_compile and not model.args.onnx,
            progress=progress_bar(len(dataset), show=show),
            packing=wants_packing(model.args),
            **options,
        )


def write_texts(
    model: BaseModel,
    prompts: Dataset,
    options: Mapping[str, Any],
    *,
    show: bool,
    collator: Collator | None = None,
    **extras: Any,
) -> list[list[np.ndarray]]:
    """Return the ids of the texts that the model writes for each prompt.

    Args:
        model: With a network that generates.
        prompts: Rows whose `input_ids` are read by an encoder, or continued.
        options: Fields of the GenerationConfig that are not as the model's own says.
        show: Whether there is a bar, for more than a few rows.
        collator: Pads prompts to a batch; None pads on the right for an encoder, on the left for a decoder.
        **extras: As for `generation.generate`, and for the network's.
    """
    from easytx.training.generation import generate, prompt_collator

    in_int8 = quantised(model)
    with threads(model.args.thread_count):
        return generate(
            dynamically_quantised(model.model) if in_int8 else model.model,
            prompts,
            collator or prompt_collator(model.tokenizer, left=not model.config.is_encoder_decoder),
            options=options,
            device=model.device,
            dtype=None if in_int8 else model.precision(),
            token_budget=token_budget(model.args, model.device.type),
            max_rows=most_rows(model.args),
            seed=model.args.manual_seed,
            progress=progress_bar(len(prompts), show=show),
            **extras,
        )


def quantised(model: BaseModel) -> bool:
    """Tell whether the model answers with int8 weights, other than those of ONNX.

    Raises:
        DeviceError: If it is to do so anywhere but on a CPU.
    """
    wanted = model.args.dynamic_quantize and not model.args.onnx
    if wanted:
        check_int8_device("dynamic_quantize", model.device)
    return wanted


def wants_packing(args: ModelArgs) -> bool | None:
    """Return what the user wants of `packing.packed`."""
    if not args.torch_compile:
        return args.packing
    # A compiled network would be compiled anew for each number of tokens.
    if args.packing:
        warn_user("packing is True, but a compiled model runs with padding. Set torch_compile=False for packing.")
    return False


def progress_bar(rows: int, *, show: bool) -> Callable[[Any, int], Any] | None:
    """Return what shows a bar over batches, or None where there is none to show."""
    from tqdm.auto import tqdm

    def bar(batches: Any, number: int) -> Any:
        return tqdm(batches, total=number, leave=False)

    return bar if show and rows >= _ROWS_FOR_A_BAR else None
