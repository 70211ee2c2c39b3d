"""How much of the speed tracking costs: steps per second with and without it, in strict alternation, offline.

Run it from the repository: `python tests/benchmarks/tracking_overhead.py --rounds 5`. Each round trains the same model
on the same rows twice, without and with a run; who comes first changes from round to round. Only the steps are timed,
not the opening and the closing of the run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def main() -> None:
    """Measure, and print one line a round and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="pairs of trainings")
    parser.add_argument("--steps", type=int, default=100, help="optimiser steps of each")
    parser.add_argument("--logging-steps", type=int, default=50, help="steps between log lines")
    parser.add_argument("--model", default="starter", help="a checkpoint, or 'tiny' for one made in memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _measure(options, Path(folder))


def _measure(options: argparse.Namespace, folder: Path) -> None:
    os.environ.update({f"WANDB_{name}_DIR": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")})
    from easytx import ClassificationModel, samples
    from easytx.testing import tiny_checkpoint

    name = str(tiny_checkpoint(folder / "tiny", "bert")) if options.model == "tiny" else options.model
    train_df, _ = samples.load("support_tickets")
    shared = {
        "logging_steps": options.logging_steps,
        "manual_seed": 1,
        "max_seq_length": 64,
        "max_steps": options.steps,
        "no_save": True,
        "silent": True,
    }
    tracked = {"wandb_project": "overhead", "wandb_kwargs": {"mode": "offline", "dir": str(folder)}}
    speeds: dict[str, list[float]] = {"off": [], "on": []}
    for number in range(-1, options.rounds):
        for kind in ("off", "on") if number % 2 else ("on", "off"):
            model = ClassificationModel(name, args={**shared, **(tracked if kind == "on" else {})})
            clock = _clock()
            model.train_model(train_df, callbacks=[clock])
            # The first round warms everything up.
            if number >= 0:
                speeds[kind].append(options.steps / clock.seconds)
        if number >= 0:
            print(f"round {number}: off {speeds['off'][-1]:.2f}, on {speeds['on'][-1]:.2f} steps per second")
    middle = {kind: statistics.median(values) for kind, values in speeds.items()}
    pairs = [on / off for on, off in zip(speeds["on"], speeds["off"], strict=True)]
    print(f"median: off {middle['off']:.2f}, on {middle['on']:.2f}; on / off {middle['on'] / middle['off']:.3f}")
    print(f"ratios of the rounds: median {statistics.median(pairs):.3f}, {min(pairs):.3f} to {max(pairs):.3f}")


def _clock():  # type: ignore[no-untyped-def]
    import time

    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """Times the steps of a training."""

        seconds = 0.0

        def on_train_begin(self, *_given, **_options) -> None:  # type: ignore[no-untyped-def]
            self.started = time.perf_counter()

        def on_train_end(self, *_given, **_options) -> None:  # type: ignore[no-untyped-def]
            self.seconds = time.perf_counter() - self.started

    return Clock()


if __name__ == "__main__":
    main()
