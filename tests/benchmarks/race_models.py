"""Training and prediction in the race: all contestants on one work."""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from race_bare import BareTrainer, BareTrainerBf16, HandLoop, features_of
from race_chip import flops, matrix_peak
from race_clock import Row, Run, SkippedError, alternate, compared, median
from race_ours import Ours, judged, model_for, saved, score
from race_simple import Simple
from race_work import WORKS, Work

from easytx.core.loading import resolve_name
from easytx.training.precision import resolve_device

_TRAIN = {
    "simpletransformers": {"mrpc": ">= 5", "goemotions": ">= 8", "conll2003": ">= 8"},
    "Trainer": {"mrpc": ">= 1.8", "goemotions": ">= 1.8", "conll2003": ">= 1.8", "squad": ">= 1.8"},
    "hand loop": dict.fromkeys(WORKS, ">= 0.97"),
}
# Tokens a batch that the hand loop tries, to keep the best.
_BUDGETS = {"cpu": (1024, 2048, 4096, 8192, 16384), "cuda": (16384, 32768, 65536, 131072)}
_PREDICT = {"simpletransformers": ">= 8", "hand loop": ">= 0.97", "pipeline": ">= 2.5"}


class Racing:
    """The parts in which models run."""

    def __init__(self, options: argparse.Namespace, worker: Any) -> None:
        self.options, self.worker = options, worker
        self.device = resolve_device(None)
        self.starter = resolve_name("starter")

    @functools.cached_property
    def best_peak(self) -> float:
        """The chip's GFLOP/s in bf16 matrix products."""
        return max(self.peaks.values())

    @functools.cached_property
    def peaks(self) -> dict[str, float]:
        """GFLOP/s of each size of matrices."""
        return matrix_peak(self.device)

    def peak(self) -> list[Row]:
        """Report the chip's peak."""
        return [
            Row("peak", size, "", "", "GFLOP/s", found, note="bf16 matrix product")
            for size, found in self.peaks.items()
        ]

    def train(self, name: str) -> list[Row]:
        """Train all contestants for the same steps."""
        options = self.options
        work = WORKS[name]().first(options.steps * options.batch_size, options.rows)
        size = options.batch_size
        ours = Ours(work, size)
        bare = [kind(work, self.starter, size, self.device) for kind in (BareTrainer, BareTrainerBf16, HandLoop)]
        contestants: dict[str, Any] = {
            "train_model": ours,
            **dict(zip(("Trainer", "Trainer, bf16", "hand loop"), bare, strict=True)),
        }
        skipped: dict[str, str] = {}
        self._add_simple(contestants, work, self.starter, skipped)
        runs = alternate({key: value.train for key, value in contestants.items()}, options.rounds, skipped)
        scores = {}
        for key in runs:
            found = contestants[key]
            weights = found.weights() if key == "simpletransformers" else _weights(found.trained)
            scores[key] = judged(work, weights)
        targets = {peer: bounds[name] for peer, bounds in _TRAIN.items() if name in bounds}
        note = self._share(work, work.train, median(runs["train_model"], lambda run: run.seconds), 3)
        steps = compared(
            runs, "train_model", part="train: steps", work=name, unit="rows/s", targets=targets, scores=scores
        )
        steps[-1].note = note
        call = compared(
            runs, "train_model", part="train: call", work=name, unit="rows/s", targets={},
            what=lambda run: run.units / run.further["call"],
        )  # fmt: skip
        return [*steps, *call, *_left_out("train", name, skipped)]

    def predict(self, name: str) -> list[Row]:
        """Predict with the same trained weights in all contestants."""
        work = WORKS[name]().first(self.options.steps * self.options.batch_size, self.options.rows)
        if work.kind == "qa":
            return [Row("predict", name, "predict", "", note="skipped: measured in the part qa")]
        ours = Ours(work, self.options.batch_size)
        ours.train()
        with tempfile.TemporaryDirectory() as folder:
            weights = str(saved(ours.trained, Path(folder)))
            # A fresh model: what training leaves behind is not measured here.
            network, ours.trained = ours.trained.model, model_for(work)
            ours.trained.model.load_state_dict(network.state_dict())
            return self._predicted(work, ours, weights)

    def _predicted(self, work: Work, ours: Ours, weights: str) -> list[Row]:
        loop = HandLoop(work, weights, self.options.batch_size, self.device)
        loop.load()
        budget = max(_BUDGETS[self.device.type], key=lambda size: loop.predict(size).speed)
        calls: dict[str, Callable[[], Run]] = {"predict": ours.predict, "hand loop": lambda: loop.predict(budget)}
        skipped: dict[str, str] = {}
        notes = {"hand loop": f"{budget} tokens a batch"}
        pipelines = self._pipelines(work, weights, notes, skipped)
        calls |= {key: value.predict for key, value in pipelines.items()}
        simple: dict[str, Simple] = {}
        self._add_simple(simple, work, weights, skipped)
        calls |= {key: value.predict for key, value in simple.items()}
        runs = alternate(calls, self.options.rounds, skipped)
        scores = {"predict": score(work, ours.predicted), "hand loop": score(work, loop.labelled())}
        scores |= {key: score(work, value.answers()) for key, value in simple.items() if key in runs}
        scores |= {key: score(work, value.answers) for key, value in pipelines.items() if value.answers}
        note = self._share(work, work.held_out, median(runs["predict"], lambda run: run.seconds), 1)
        notes["hand loop"] += f"; {note}"
        rows = compared(
            runs, "predict", part="predict", work=work.name, unit="rows/s", targets=_PREDICT, scores=scores, notes=notes
        )
        evaluations = {"eval_model": ours.evaluate} | {key: value.evaluate for key, value in simple.items()}
        runs = alternate(evaluations, self.options.rounds, skipped)
        rows += compared(runs, "eval_model", part="eval", work=work.name, unit="rows/s", targets=_PREDICT)
        return rows + _left_out("predict", work.name, skipped)

    def _pipelines(self, work: Work, weights: str, notes: dict[str, str], skipped: dict[str, str]) -> dict[str, Any]:
        if "pipeline" in self.options.without:
            skipped["pipeline"] = "left out by --without"
            return {}
        if work.kind != "classification":
            skipped["pipeline"] = "compared on classification only, where its answers have the same form"
            return {}
        from race_pipeline import BestPipeline

        found = {
            "pipeline": BestPipeline(work, weights, self.device, None),
            "pipeline, bf16 weights": BestPipeline(work, weights, self.device, torch.bfloat16),
        }
        for key, value in found.items():
            notes[key] = f"batch size {value.batch_size}"
        return found

    def _add_simple(self, contestants: dict[str, Any], work: Work, model: str, skipped: dict[str, str]) -> None:
        if self.worker is None:
            skipped["simpletransformers"] = "left out by --without"
            return
        found = Simple(self.worker, work, model, self.options)
        try:
            found.prepare()
        except SkippedError as reason:
            skipped["simpletransformers"] = str(reason)
        else:
            contestants["simpletransformers"] = found

    def _share(self, work: Work, rows: list[Any], seconds: float, passes: int) -> str:
        model = model_for(work)
        lengths = [len(row["input_ids"]) for row in features_of(work, rows, model.tokenizer, labelled=False)]
        first_only = work.kind in ("classification", "multi_label")
        share = passes * flops(model.config, lengths, first_only=first_only) / seconds / 1e9 / self.best_peak
        padded = passes * flops(model.config, lengths, width=work.max_length) / seconds / 1e9 / self.best_peak
        tokens = sum(lengths) / seconds
        return f"easytx: {tokens:.0f} tokens/s, {share:.1%} of peak; as if padded to {work.max_length}: {padded:.1%}"


def _weights(trained: Any) -> Mapping[str, torch.Tensor]:
    network = trained.model if hasattr(trained, "train_model") else trained
    state: Mapping[str, torch.Tensor] = network.state_dict()
    return state


def _left_out(part: str, work: str, skipped: Mapping[str, str]) -> list[Row]:
    return [Row(part, work, "", name, note=f"skipped: {reason}") for name, reason in skipped.items()]
