"""The race: easytx beside its peers, in strict alternation of short runs on one machine.

    python tests/benchmarks/race.py                             # everything; makes an environment on first use
    python tests/benchmarks/race.py --only import,latency       # some parts
    python tests/benchmarks/race.py --only train --works mrpc --steps 459 --rounds 3
    python tests/benchmarks/race.py --without simpletransformers

Parts: peak, import, tokenise, latency, train, predict, qa, encode. Peers: Simple Transformers in an environment of
its own, the bare Trainer, `transformers.pipeline`, sentence-transformers, and a loop written by hand as the limit. Each
round runs every contestant once and begins with another; the first round only warms up. A ratio is the median over the
rounds of easytx's speed divided by the peer's in the same round, with the middle half of the rounds beside it. What
cannot run is listed with the reason. Reads the data folder named by EASYTX_DATA, by default `../shared/data` beside the
project.
Prints one table and writes `race.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("WANDB_MODE", "disabled")

PARTS = ("peak", "import", "tokenise", "latency", "train", "predict", "qa", "encode")
SIMPLE = "simpletransformers"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {', '.join(PARTS)}")
    parser.add_argument(
        "--works", default="mrpc,goemotions,conll2003,squad,skewed", help="rows to train and predict on"
    )
    parser.add_argument("--without", default="", help=f"peers to leave out, such as {SIMPLE}")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--steps", type=int, default=40, help="steps of a training")
    parser.add_argument("--batch-size", type=int, default=8, help="rows of a training step")
    parser.add_argument("--rows", type=int, default=1000, help="rows of a prediction")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of every contestant")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time, for one thread")
    parser.add_argument("--venv", default="~/.cache/easytx-race/simpletransformers", help="where its environment is")
    parser.add_argument("--out", default="race.json")
    options = parser.parse_args()
    options.only, options.works = options.only.split(","), options.works.split(",")
    options.without = [name for name in options.without.split(",") if name]
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"there is no part {sorted(unknown)}")
    return options


@contextlib.contextmanager
def _worker(options: argparse.Namespace) -> Iterator[Any]:
    from race_simple import Worker, environment

    if SIMPLE in options.without or not {"train", "predict"} & set(options.only):
        yield None
        return
    python = environment(Path(options.venv).expanduser())
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(python, Path(folder), Path(options.out).with_suffix(".worker.log"))
        try:
            yield worker
        finally:
            worker.close()


def _table(rows: list[Any]) -> str:
    header = (
        "part",
        "work",
        "easytx",
        "peer",
        "unit",
        "easytx",
        "peer",
        "ratio",
        "middle half",
        "target",
        "met",
        "scores",
    )
    lines = [header]
    for row in rows:
        speeds = ["" if v is None else f"{v:.3g}" if v < 100 else f"{v:.0f}" for v in (row.our_speed, row.peer_speed)]
        found = row.ratio
        spread = "" if found is None else f"{found.low:.2f} to {found.high:.2f}"
        scores = "" if row.scores == (None, None) else " / ".join("-" if s is None else f"{s:.3f}" for s in row.scores)
        ratio = "" if found is None else f"{found.median:.3g}"
        lines.append(
            (row.part, row.work, row.ours, row.peer, row.unit, *speeds, ratio, spread, row.target, row.met(), scores)
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + (f"  ({row.note})" if row is not None and row.note else "")
        for line, row in zip(lines, [None, *rows], strict=True)
    ]
    return "\n".join(text)


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    import torch
    import transformers

    return {
        "cores": os.cpu_count(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "machine": platform.machine(),
        "options": {name: value for name, value in vars(options).items() if name != "venv"},
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _raced(options: argparse.Namespace, worker: Any) -> Iterator[list[Any]]:
    import race_small
    from race_models import Racing

    racing = Racing(options, worker)
    for part in PARTS:
        if part not in options.only:
            continue
        if part == "import":
            yield race_small.imports(options.rounds)
        elif part == "tokenise":
            yield race_small.tokenise(options.rounds, max(options.rows, 1000))
        elif part == "latency":
            yield race_small.latency(options.rounds)
        elif part == "qa":
            yield race_small.questions(options.rounds, min(options.rows, 300))
        elif part == "encode":
            yield race_small.encode(options.rounds, options.rows)
        elif part == "peak":
            yield racing.peak()
        else:
            for name in options.works:
                yield racing.train(name) if part == "train" else racing.predict(name)


def main() -> None:
    options = _arguments()
    from race_clock import Clock
    from race_work import DATA

    if not DATA.is_dir():
        sys.exit(f"Skipped: there is no data at {DATA}. Set EASYTX_DATA.")
    import torch

    torch.set_num_threads(options.threads)
    if options.clock == "cpu":
        if options.threads != 1:
            sys.exit("--clock cpu adds up the time of all threads; it needs --threads 1.")
        Clock.now = staticmethod(time.process_time)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    rows: list[Any] = []
    with _worker(options) as worker:
        for found in _raced(options, worker):
            rows += found
            print(_table(found), "\n", flush=True)
            record = {"machine": _machine(options), "rows": [row.record() for row in rows]}
            Path(options.out).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(_table(rows))


if __name__ == "__main__":
    main()
