"""How time and memory grow with the number of rows and of calls.

    python tests/benchmarks/scale.py                               # everything: some minutes on two cores
    python tests/benchmarks/scale.py --only tokenise --sizes 1000,10000,100000,1000000
    python tests/benchmarks/scale.py --only predict --model starter --sizes 1000,10000
    python tests/benchmarks/scale.py --only calls --calls 100

Parts: tokenise and predict (microseconds of processor time a row, for each number of rows; linear growth keeps them
the same, and the exponent of the growth from one number to the next is 1), train (peak resident memory of
`train_model` above that of frame, model and optimiser), calls (`predict` again and again: growth of resident memory,
threads and open files). Each measurement has a process of its own. Many rows are predicted with a tiny model, so that
what stands around the model is measured. The rows are made up, so no data is needed. Prints one table and writes
`scale.json`. Linux only.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

PARTS = ("tokenise", "predict", "train", "calls")
_WORDS = "the parcel came two days late but all of it was there and nobody knew".split()  # noqa: SIM905
_MIB = 1 << 20


def texts(number: int) -> list[str]:
    """Return short texts of 5 to 15 words, hardly one like another."""
    chance = random.Random(0)
    return [" ".join(chance.choices(_WORDS, k=chance.randint(5, 15))) for _ in range(number)]


def resident() -> float:
    """Return the resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


class Peak:
    """The highest resident memory while a block runs, looked at every 20 ms."""

    def __enter__(self) -> Peak:
        self.highest, self.done = resident(), threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.02):
            self.highest = max(self.highest, resident())

    def __exit__(self, *_given: object) -> None:
        self.done.set()
        self.thread.join()


class _Lap:
    """How long a block takes."""

    def __enter__(self) -> _Lap:
        self.started = (time.process_time(), time.perf_counter())
        return self

    def __exit__(self, *_given: object) -> None:
        self.seconds = (time.process_time() - self.started[0], time.perf_counter() - self.started[1])

    def per_row(self, rows: int) -> dict[str, float]:
        return {"us a row": self.seconds[0] / rows * 1e6, "seconds by the clock": self.seconds[1]}


def _model(name: str, **args: Any) -> Any:
    from easytx import ClassificationModel
    from easytx.testing import tiny_checkpoint

    settings = {"no_cache": True, "no_save": True, "silent": True, "max_seq_length": 64, **args}
    with tempfile.TemporaryDirectory() as folder:
        source = str(tiny_checkpoint(Path(folder) / "tiny", "bert")) if name == "tiny" else name
        model = ClassificationModel(source, num_labels=2, args=settings)
        model.model  # noqa: B018  the weights are loaded when they are first asked for
    return model


def tokenise(options: argparse.Namespace) -> dict[str, Any]:
    """Tokenise so many rows: as for training, where what is large lies in a file."""
    from easytx.data.tables import large_data_in
    from easytx.data.tokenise import encode

    model, rows = _model("starter"), texts(options.size)
    encode(model.tokenizer, rows[:100], max_length=64)
    before = resident()
    with tempfile.TemporaryDirectory() as folder, large_data_in(folder), Peak() as peak, _Lap() as lap:
        dataset = encode(model.tokenizer, rows, max_length=64)
    held = dataset.data.nbytes / _MIB
    return {**lap.per_row(options.size), "MiB above": peak.highest - before, "MiB of data": held}


def predict(options: argparse.Namespace) -> dict[str, Any]:
    """Predict so many rows."""
    model, rows = _model(options.model), texts(options.size)
    model.predict(rows[:100])
    before = resident()
    with Peak() as peak, _Lap() as lap:
        model.predict(rows)
    return {**lap.per_row(options.size), "MiB above": peak.highest - before}


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train a few steps on a frame of so many rows; the optimiser holds two numbers per weight, gradients one."""
    import pandas as pd

    model = _model("starter", max_steps=options.steps, train_batch_size=8, manual_seed=0)
    frame = pd.DataFrame({"text": texts(options.size), "labels": [row % 2 for row in range(options.size)]})
    gc.collect()
    before = resident()
    weights = sum(parameter.numel() for parameter in model.model.parameters())
    with tempfile.TemporaryDirectory() as folder, Peak() as peak:
        model.train_model(frame, output_dir=folder)
    above = peak.highest - before - 2 * 4 * weights / _MIB
    return {"MiB above frame, model, optimiser": above, "of these, gradients": 4 * weights / _MIB, "bound": 1536}


def calls(options: argparse.Namespace) -> dict[str, Any]:
    """Predict one text again and again."""
    model, rows = _model("starter"), texts(200)
    for row in rows[:100]:
        model.predict([row])
    gc.collect()
    before = (resident(), threading.active_count(), len(os.listdir("/proc/self/fd")))
    for number in range(options.calls):
        model.predict([rows[number % len(rows)]])
    gc.collect()
    after = (resident(), threading.active_count(), len(os.listdir("/proc/self/fd")))
    grown = [late - early for early, late in zip(before, after, strict=True)]
    return {
        "calls": options.calls,
        "MiB grown": grown[0],
        "bound": 20,
        "threads grown": grown[1],
        "files grown": grown[2],
    }


MEASURES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "tokenise": tokenise,
    "predict": predict,
    "train": train,
    "calls": calls,
}


def _in_a_process(part: str, size: int, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--part", part, "--size", str(size), "--threads", str(options.threads)]
    command += ["--calls", str(options.calls), "--steps", str(options.steps), "--model", options.model]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "RAYON_NUM_THREADS"), str(options.threads))
    environment = {**os.environ, **threads, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, Any] = {"part": part, "rows": size, **json.loads(done.stdout.splitlines()[-1])}
    return found


def _add_growth(records: list[dict[str, Any]]) -> None:
    """Add to the last record by which power of the rows its time has grown since the one before."""
    *_, last = records
    before = records[-2] if len(records) > 1 else {}
    if before.get("part") == last["part"] and last["rows"] != before["rows"]:
        rows = last["rows"] / before["rows"]
        last["exponent"] = math.log(rows * last["us a row"] / before["us a row"]) / math.log(rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {', '.join(PARTS)}")
    parser.add_argument("--sizes", default="1000,10000,100000,1000000", help="numbers of rows to tokenise and predict")
    parser.add_argument("--model", default="tiny", help="what predicts many rows: tiny, starter, a name or a folder")
    parser.add_argument("--train-rows", type=int, default=1_000_000, help="rows of the frame to train on")
    parser.add_argument("--steps", type=int, default=30, help="steps of the training")
    parser.add_argument("--calls", type=int, default=1000, help="calls of predict")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", default="scale.json")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = _arguments()
    if not Path("/proc/self/statm").is_file():
        sys.exit("Skipped: resident memory is read from /proc, which is not there.")
    if options.part:
        import torch

        torch.set_num_threads(options.threads)
        warnings.simplefilter("ignore")
        print(json.dumps(MEASURES[options.part](options)))
        return
    records = []
    for part in options.only.split(","):
        sizes = [int(size) for size in options.sizes.split(",")] if part in ("tokenise", "predict") else [0]
        for size in sizes:
            records.append(_in_a_process(part, options.train_rows if part == "train" else size, options))
            _add_growth(records)
            shown = {k: round(v, 3) if isinstance(v, float) else v for k, v in records[-1].items()}
            print("  ".join(f"{name}: {value}" for name, value in shown.items()), flush=True)
    Path(options.out).write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
