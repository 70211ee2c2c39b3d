"""What happens on a GPU when batches do not fit into its memory: training and prediction go on with smaller ones.

Run it from the repository, on a machine with CUDA: `python tests/benchmarks/out_of_memory.py`. It allows itself a small
share of the memory, trains and predicts with batches that need more, and shows that the weights and the answers are
those of batches that fit.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Of BERT's usual width, so that a batch takes memory, but of few layers.
SIZE = {"hidden_size": 768, "num_hidden_layers": 4, "num_attention_heads": 12, "intermediate_size": 3072}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def main() -> None:
    """Train and predict with too little memory, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0, help="memory to allow")
    parser.add_argument("--batch", type=int, default=256, help="rows of a batch that does not fit")
    parser.add_argument("--length", type=int, default=256, help="tokens of a row")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("There is no CUDA device here, so there is nothing to show.")
        return
    with tempfile.TemporaryDirectory() as folder:
        _show(options, Path(folder))


def _show(options: argparse.Namespace, folder: Path) -> None:
    import pandas as pd
    import torch

    from easytx import ClassificationModel
    from easytx.testing import CORPUS, tiny_checkpoint

    total = torch.cuda.get_device_properties(0).total_memory
    share = options.gigabytes * 2**30 / total
    checkpoint = tiny_checkpoint(folder / "bert", "bert", **SIZE)
    words = " ".join(CORPUS).split()
    texts = [" ".join(words[(row + i) % len(words)] for i in range(options.length)) for row in range(2 * options.batch)]
    frame = pd.DataFrame({"text": texts, "labels": [row % 2 for row in range(len(texts))]})
    shared: dict[str, Any] = {
        "config": NO_DROPOUT,
        "eval_batch_size": 4 * options.batch,
        "manual_seed": 1,
        "max_seq_length": options.length,
        "no_save": True,
        "silent": True,
        "train_batch_size": options.batch,
    }
    print(f"{torch.cuda.get_device_name(0)}, batches of {options.batch} rows of {options.length} tokens")
    found = {}
    for name, allowed in (("all of the memory", 1.0), (f"{options.gigabytes} GB of it", min(share, 1.0))):
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(allowed)
        torch.cuda.reset_peak_memory_stats()
        model = ClassificationModel("bert", str(checkpoint), num_labels=2, args=shared)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            started = time.perf_counter()
            result = model.train_model(frame)
            trained = time.perf_counter()
            logits = model.predict(texts).raw_outputs
            seconds = trained - started, time.perf_counter() - trained
        found[name] = torch.as_tensor(logits)
        peak = torch.cuda.max_memory_reserved() / 2**30
        print(f"\nWith {name}: {result.global_step} steps, loss {result.training_details:.5f}, peak {peak:.2f} GB")
        print(f"train {seconds[0]:.2f} s, predict {seconds[1]:.2f} s")
        for warning in said:
            print(f"  {warning.category.__name__}: {warning.message}")
        del model
    first, second = found.values()
    print(f"\nLargest difference of a logit: {float((first - second).abs().max()):.2e}")


if __name__ == "__main__":
    main()
