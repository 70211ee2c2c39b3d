"""How much faster int8 weights predict on a CPU than the default precision, and what they cost of the score.

    python tests/benchmarks/int8.py                      # MRPC, a short training from "starter"
    python tests/benchmarks/int8.py --clock cpu --threads 1 --steps 200 --rounds 5

The model is trained once, then predicts the rows of the validation split in turn with int8 weights, in the default
precision and in float32; who comes first changes from round to round. The data folder is named by `EASYTX_DATA`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from race_clock import Clock, Run, alternate, lap, median, ratio
from race_work import mrpc

SCORES = ("accuracy", "f1_score", "mcc", "eval_loss")


def frame(rows: list[dict[str, Any]]) -> Any:
    """Return rows of pairs as a frame."""
    import pandas as pd

    return pd.DataFrame(
        {"text_a": [r["texts"][0] for r in rows], "text_b": [r["texts"][1] for r in rows]}
        | {"labels": [r["labels"] for r in rows]}
    )


def contestant(model: Any, args: dict[str, Any], rows: list[Any]) -> Callable[[], Run]:
    """Return one prediction of all rows with these arguments."""

    def run() -> Run:
        model.args = model.args.merged(args)
        with lap() as found:
            model.predict(rows)
        return Run(found.seconds, len(rows))

    return run


def main() -> None:
    """Train, measure, and print speeds and scores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200, help="of 16 pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.clock == "cpu":
        Clock.now = staticmethod(time.process_time)
    from easytx import ClassificationModel

    work = mrpc()
    train, held_out = frame(work.train), frame(work.held_out)
    args = {"silent": True, "manual_seed": options.seed, "thread_count": options.threads, "max_steps": options.steps}
    args |= {"train_batch_size": 16, "learning_rate": 1e-4, "no_save": True}
    model = ClassificationModel("starter", num_labels=2, args=args)
    model.train_model(train)
    kinds = {"int8": {"dynamic_quantize": True, "fp16": True}}
    kinds |= {
        "default": {"dynamic_quantize": False, "fp16": True},
        "float32": {"dynamic_quantize": False, "fp16": False},
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in kinds.items():
            model.args = model.args.merged(kind)
            found = model.eval_model(held_out, output_dir=folder).result
            print(f"{name}: " + ", ".join(f"{score} {found[score]:.4f}" for score in SCORES), flush=True)
    pairs = held_out[["text_a", "text_b"]].to_numpy().tolist()
    for rows, repeats in ((pairs, 1), (pairs[:1], 30)):
        runs = alternate(
            {name: contestant(model, kind, rows) for name, kind in kinds.items()}, options.rounds * repeats
        )
        speeds = {name: [run.speed for run in found] for name, found in runs.items()}
        print(f"predict, {len(rows)} pairs: " + ", ".join(f"{n} {median(found):.1f}/s" for n, found in runs.items()))
        for other in ("default", "float32"):
            found = ratio(speeds["int8"], speeds[other])
            print(f"  int8 / {other}: {found.median:.2f} ({found.low:.2f} to {found.high:.2f})", flush=True)


if __name__ == "__main__":
    main()
