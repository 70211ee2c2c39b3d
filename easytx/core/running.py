"""Running a model class's model over prepared rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easytx.config.model_args import ModelArgs
from easytx.data.cache import fingerprint, kept
from easytx.data.prepared import TaskData
from easytx.data.tokenise import Encoded, encode
from easytx.training.inference import Outputs, run

if TYPE_CHECKING:
    from easytx.core.base_model import BaseModel

# Tokens per inference batch at which a device is busy and its caches are still used well.
_BUSY_TOKENS = {"cpu": 4096, "mps": 16384, "cuda": 65536}

# Below this many rows a bar would only flicker.
_ROWS_FOR_A_BAR = 1000


def token_budget(args: ModelArgs, device_type: str) -> int:
    """Return the tokens of an inference batch: what the device does best, or what the user has set."""
    wanted = args.eval_batch_size * args.max_seq_length
    if args.eval_batch_size != ModelArgs().eval_batch_size:
        return wanted
    return max(wanted, _BUSY_TOKENS.get(device_type, wanted))


def run_model(model: BaseModel, data: TaskData, *, show: bool) -> Outputs:
    """Return what the model says about the rows; with `show`, a bar for more than a few."""
    from tqdm.auto import tqdm

    def bar(batches: Any, number: int) -> Any:
        return tqdm(batches, total=number, leave=False)

    return run(
        model.model,
        data.dataset,
        model.collator(),
        reduce=model.reduce,
        device=model.device,
        dtype=model.precision(),
        token_budget=token_budget(model.args, model.device.type),
        loss_function=model.loss() if data.labelled else None,
        progress=bar if show and len(data.dataset) >= _ROWS_FOR_A_BAR else None,
    )


def encode_cached(
    model: BaseModel, texts: list[str], pairs: list[str] | None, *, overlap: int | None, split: str
) -> Encoded:
    """Return tokenised texts; read from `cache_dir` where the arguments ask for it, and kept there."""
    length = model.args.max_seq_length
    truncated = 0

    def make() -> Any:
        nonlocal truncated
        encoded = encode(model.tokenizer, texts, pairs, max_length=length, overlap=overlap)
        truncated = encoded.truncated
        return encoded.dataset

    if not reads_cache(model.args, split):
        return Encoded(make(), truncated)
    name = fingerprint(model.tokenizer, texts, pairs or (), length, overlap)
    return Encoded(kept(model.args.cache_dir, f"{split}-{name}", make), truncated)


def reads_cache(args: ModelArgs, split: str) -> bool:
    """Tell whether tokenised data of this split is to be read from, and kept in, `cache_dir`."""
    if args.no_cache or split == "predict":
        return False
    return not args.reprocess_input_data or (split == "eval" and args.use_cached_eval_features)
