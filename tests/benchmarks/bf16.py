"""How much faster weights cast to bf16 once predict on a CPU than autocast, and how far either is from float32.

    python tests/benchmarks/bf16.py                              # MRPC, GoEmotions and CoNLL-2003
    python tests/benchmarks/bf16.py --works mrpc --steps 200

A model of each set is trained for some steps from "starter", and predicts held-out rows in turn: with the copy that is
the default, by autocast, and in float32. The data folder is named by `EASYTX_DATA`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from race_clock import Run, alternate, lap, median, ratio
from race_ours import inputs_of, model_for, rows_of
from race_work import WORKS

KINDS = {"copy": True, "autocast": True, "float32": False}


def numbers_in(outputs: Any) -> Iterator[float]:
    """Yield the numbers of raw outputs, whatever their form."""
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if getattr(outputs, "ndim", None) == 0 or isinstance(outputs, (int, float)):
        yield float(outputs)
        return
    for part in outputs:
        yield from numbers_in(part)


def contestant(model: Any, kind: str, inputs: list[Any]) -> Callable[[], Run]:
    """Return one prediction of all inputs in this way; `answers` of the model keeps what it has said."""

    def as_it_is(network: Any, *_given: Any, **_options: Any) -> Any:
        return network

    def run() -> Run:
        model.args = model.args.merged({"fp16": KINDS[kind]})
        with mock.patch("easytx.training.inference.cast_copy", as_it_is) if kind == "autocast" else mock.MagicMock():
            with lap() as found:
                model.answers[kind] = model.predict(inputs)
            return Run(found.seconds, len(inputs))

    return run


def main() -> None:
    """Train, predict in turn, and print speeds and distances."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--works", default="mrpc,goemotions,conll2003")
    parser.add_argument("--steps", type=int, default=150, help="of 8 rows")
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    import numpy as np

    for name in options.works.split(","):
        work = WORKS[name]().first(8 * options.steps, options.rows)
        model = model_for(work, train_batch_size=8)
        model.answers = {}
        with tempfile.TemporaryDirectory() as folder:
            model.train_model(rows_of(work, work.train), output_dir=folder)
        inputs = inputs_of(work, work.held_out)
        runs = alternate({kind: contestant(model, kind, inputs) for kind in KINDS}, options.rounds)
        exact = np.array([*numbers_in(model.answers["float32"].raw_outputs)])
        for kind, found in runs.items():
            away = np.array([*numbers_in(model.answers[kind].raw_outputs)]) - exact
            distance = float(np.sqrt((away**2).mean()) / exact.std())
            pairs = zip(model.answers[kind].predictions, model.answers["float32"].predictions, strict=True)
            others = sum(str(one) != str(other) for one, other in pairs)
            faster = ratio([run.speed for run in found], [run.speed for run in runs["autocast"]])
            print(
                f"{name:10} {kind:8} {median(found):6.1f} rows/s, / autocast {faster.median:.3f}; logits away from "
                f"float32 by {distance:.1e} of their deviation, {others} of {len(inputs)} answers others",
                flush=True,
            )


if __name__ == "__main__":
    main()
