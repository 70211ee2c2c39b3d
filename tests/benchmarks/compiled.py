"""Whether `torch_compile` pays: speed of training steps and predictions with it and without, and what compiling costs.

    python tests/benchmarks/compiled.py                       # MRPC from "starter"; batches of 8 and 32 pairs
    python tests/benchmarks/compiled.py --clock cpu --threads 1 --rounds 4 --steps 6 --parts predict

With it and without it take turns in one process, after a round to warm up, in which graphs are compiled; what that
round takes is printed, for whoever counts with it. The data folder is named by `EASYTX_DATA`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from int8 import frame
from race_clock import Clock, Run, alternate, lap, median, ratio
from race_work import mrpc


def training(model: Any, rows: Any, steps: int) -> Callable[[], Run]:
    """Return a training of so many steps; the time between them does not count."""
    from transformers import TrainerCallback

    class Steps(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = Clock.now()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds = getattr(self, "seconds", 0.0) + Clock.now() - self.started

    def run() -> Run:
        clock = Steps()
        model.train_model(rows, args={"max_steps": steps}, callbacks=[clock])
        return Run(clock.seconds, steps)

    return run


def predicting(model: Any, rows: list[Any]) -> Callable[[], Run]:
    """Return one prediction of all rows."""

    def run() -> Run:
        with lap() as found:
            model.predict(rows)
        return Run(found.seconds, len(rows))

    return run


def timed_first(run: Callable[[], Run], name: str) -> Callable[[], Run]:
    """Have the first run print what it takes on the wall clock."""
    first = [True]

    def timed() -> Run:
        started = time.perf_counter()
        found = run()
        if first[0]:
            print(f"  first run {name}: {time.perf_counter() - started:.1f} s", flush=True)
            first[0] = False
        return found

    return timed


def main() -> None:
    """Measure, and print speeds, ratios and the number of graphs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--parts", default="predict,int8,train")
    parser.add_argument("--batches", default="8,32")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.clock == "cpu":
        Clock.now = staticmethod(time.process_time)
    import torch
    from torch._dynamo.utils import counters

    from easytx import ClassificationModel

    work = mrpc().first(600, 200)
    train, held_out = frame(work.train), frame(work.held_out)
    pairs = held_out[["text_a", "text_b"]].to_numpy().tolist()
    shared = {"silent": True, "manual_seed": 0, "thread_count": options.threads, "no_save": True}

    def models(**args: Any) -> dict[str, Any]:
        compiles = {"compiled": True, "plain": False}
        return {
            name: ClassificationModel("starter", num_labels=2, args={**shared, **args, "torch_compile": wanted})
            for name, wanted in compiles.items()
        }

    parts: dict[str, dict[str, Callable[[], Run]]] = {}
    for kind, args in (("predict", {}), ("int8", {"dynamic_quantize": True})):
        if kind in options.parts:
            made = models(**args)
            for rows, what in ((pairs, f"{len(pairs)} pairs"), (pairs[:1], "one pair")):
                parts[f"{kind}, {what}"] = {name: predicting(model, rows) for name, model in made.items()}
    if "train" in options.parts:
        for batch in map(int, options.batches.split(",")):
            made = models(train_batch_size=batch)
            parts[f"train, steps of {batch} pairs"] = {
                name: training(model, train, options.steps) for name, model in made.items()
            }
    for part, contestants in parts.items():
        print(part, flush=True)
        before = counters["stats"]["unique_graphs"]
        rounds = options.rounds * (20 if part.endswith("one pair") else 1)
        runs = alternate({name: timed_first(run, name) for name, run in contestants.items()}, rounds)
        found = ratio(*([run.speed for run in runs[name]] for name in ("compiled", "plain")))
        shown = ", ".join(f"{name} {median(timed):.2f}/s" for name, timed in runs.items())
        graphs = counters["stats"]["unique_graphs"] - before
        print(f"  {shown}; compiled / plain {found.median:.2f} ({found.low:.2f} to {found.high:.2f}); {graphs} graphs")
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")


if __name__ == "__main__":
    main()
