"""How much faster weights cast to bf16 once predict on a CPU than autocast, and how far either is from float32.

    python tests/benchmarks/bf16.py                              # MRPC, GoEmotions and CoNLL-2003
    python tests/benchmarks/bf16.py --works mrpc --steps 200
    python tests/benchmarks/bf16.py --works generation           # texts by a T5 of 60 million random weights

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
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from race_clock import Run, alternate, lap, median, ratio
from race_ours import inputs_of, model_for, rows_of
from race_work import WORKS

KINDS = {"copy": True, "autocast": True, "float32": False}

# Where the copy is asked for.
_USERS = ("easytx.training.inference.cast_copy", "easytx.training.generation.cast_copy")

_T5_SMALL = {"d_model": 512, "d_ff": 2048, "num_layers": 6, "num_heads": 8, "d_kv": 64, "vocab_size": 32128}


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
        with ExitStack() as stack:
            for user in _USERS if kind == "autocast" else ():
                stack.enter_context(mock.patch(user, as_it_is))
            with lap() as found:
                model.answers[kind] = model.predict(inputs)
        return Run(found.seconds, len(inputs))

    return run


def generation(rounds: int) -> None:
    """Have texts of 32 tokens written for one text and for 24, by a network of random weights as large as T5 small."""
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

    from easytx import T5Model
    from easytx.testing import tiny_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint(Path(folder) / "tiny", "t5"))
        ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
        config = T5Config(**_T5_SMALL, **ids, decoder_start_token_id=tokenizer.pad_token_id)
        large = Path(folder) / "large"
        T5ForConditionalGeneration(config).save_pretrained(large)
        tokenizer.save_pretrained(large)
        model: Any = T5Model("t5", large, args={"max_length": 32, "max_seq_length": 64, "silent": True})
        model.answers = {}
        for number in (1, 24):
            rows = [
                f"shorten: the film was a joy from the first scene to the last, number {row}" for row in range(number)
            ]
            runs = alternate({kind: contestant(model, kind, rows) for kind in KINDS}, rounds)
            for kind, found in runs.items():
                faster = ratio([run.speed for run in found], [run.speed for run in runs["autocast"]])
                speed = f"{median(found):6.2f} texts/s, / autocast {faster.median:.3f}"
                print(f"generation of {number:2} texts, {kind:8} {speed}", flush=True)


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
        if name == "generation":
            generation(options.rounds)
            continue
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
