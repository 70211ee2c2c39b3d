"""Texts per second of `encode_sentences` beside sentence-transformers' `encode`, on the same checkpoint and texts.

    python tests/benchmarks/encode.py --rounds 5 --texts 1000

Each round encodes all texts once with each; who comes first changes from round to round. sentence-transformers (not a
dependency of the library) runs as it comes, in float32, with a batch size of 32; ours with the default arguments, which
is in float32 too, and in mixed precision. Loading is not timed, tokenisation is. The texts are sentence pairs of the
bundled samples, put together in paragraphs of one to eight, in a random order.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def texts(number: int) -> list[str]:
    """Return different texts of one to eight sentences."""
    from easytx import samples

    sentences = samples.load("support_tickets")[0]["text"].tolist()
    chance = random.Random(0)
    return [" ".join(chance.choices(sentences, k=chance.choice([1, 1, 1, 2, 2, 3, 5, 8]))) for _ in range(number)]


def encoders(model: str) -> dict[str, Callable[[list[str]], Any]]:
    """Return the functions that are compared."""
    from sentence_transformers import SentenceTransformer

    from easytx import RepresentationModel
    from easytx.core.loading import resolve_name

    theirs = SentenceTransformer(resolve_name(model), device="cpu")
    theirs.max_seq_length = 128
    ours = RepresentationModel(model, use_cuda=False, args={"silent": True})
    mixed = RepresentationModel(model, use_cuda=False, args={"silent": True, "fp16": True})
    return {
        "sentence-transformers": lambda rows: theirs.encode(rows, batch_size=32, show_progress_bar=False),
        "easytx": lambda rows: ours.encode_sentences(rows, "mean", normalize=True),
        "easytx mixed": lambda rows: mixed.encode_sentences(rows, "mean", normalize=True),
    }


def main() -> None:
    """Measure, and print a line a round, medians and ratios."""
    import warnings

    import numpy as np

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--model", default="starter", help="a checkpoint with mean pooling")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows, functions = texts(options.texts), encoders(options.model)
    first = {name: function(rows[:200]) for name, function in functions.items()}
    for name, vectors in first.items():
        print(f"{name}: furthest from the first {np.abs(vectors - first['sentence-transformers']).max():.1e}")
    speeds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(options.rounds):
        names = list(functions)
        for name in names[number % 3 :] + names[: number % 3]:
            started = time.perf_counter()
            functions[name](rows)
            speeds[name].append(len(rows) / (time.perf_counter() - started))
        print(f"round {number}: " + ", ".join(f"{name} {found[-1]:.0f}" for name, found in speeds.items()), flush=True)
    for name, found in speeds.items():
        ratios = [a / b for a, b in zip(found, speeds["sentence-transformers"], strict=True)]
        shown = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{name}: median {statistics.median(found):.0f} texts per second, ratio {shown}")


if __name__ == "__main__":
    main()
