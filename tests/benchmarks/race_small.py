"""The small parts of the race: imports, tokenisation, one text, questions, sentence vectors."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from race_clock import Clock, Row, Run, alternate, compared, lap, ratio
from race_work import WORKS, Work

_ROOT = Path(__file__).parents[2]

_IMPORTS = {
    "import easytx": "import easytx",
    "from easytx.classification import ClassificationModel": "from easytx.classification import ClassificationModel",
    "torch and transformers' Auto classes": (
        "import torch; from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer"
    ),
}


def _import_seconds(statement: str) -> Run:
    clock = "process_time" if Clock.now is time.process_time else "perf_counter"
    code = f"from time import {clock} as now; t = now(); {statement}; print(now() - t)"
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return Run(float(done.stdout), 1)


def imports(rounds: int) -> list[Row]:
    """Time imports in fresh processes."""
    runs = alternate({name: lambda s=s: _import_seconds(s) for name, s in _IMPORTS.items()}, rounds)
    alone, ours, theirs = ([run.seconds for run in runs[name]] for name in _IMPORTS)
    code = "import sys, easytx; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )  # fmt: skip
    second, both = statistics.median(alone), statistics.median(theirs)
    names = list(_IMPORTS)
    absolute = Row("import", "", names[0], "", "s", second, None, ratio(alone, [1.0] * len(alone)), "<= 0.15")
    absolute.note = "seconds; loads torch: " + done.stdout.strip()
    relative = Row("import", "", names[1], names[2], "s", statistics.median(ours), both, ratio(ours, theirs), "<= 1.1")
    return [absolute, relative]


def tokenise(rounds: int, rows: int) -> list[Row]:
    """Tokenise to features, beside the bare call of the Rust tokenizer that still has to become features."""
    from race_ours import model_for

    from easytx.data.tokenise import encode

    work = WORKS["goemotions"]().first(rows, 1)
    model, texts = model_for(work), [row["texts"][0] for row in work.train]
    backend = model.tokenizer.backend_tokenizer

    def ours() -> Run:
        with lap() as call:
            encode(model.tokenizer, texts, max_length=128)
        return Run(call.seconds, len(texts))

    def bare() -> Run:
        backend.enable_truncation(128)
        backend.no_padding()
        with lap() as call:
            backend.encode_batch(texts)
        return Run(call.seconds, len(texts))

    runs = alternate({"tokenising": ours, "tokenizers.encode_batch": bare}, rounds)
    targets = {"tokenizers.encode_batch": ">= 0.9"}
    return compared(runs, "tokenising", part="tokenise", work="goemotions", unit="rows/s", targets=targets)


def latency(rounds: int, calls: int = 50) -> list[Row]:
    """Time `predict` of one short text, beside the model alone in either precision."""
    import torch
    from race_ours import model_for

    work = WORKS["goemotions"]()
    work = Work(work.name, "classification", [], [], [0, 1])
    text = "The parcel came two days late, but all of it was there."
    model = model_for(work)
    inputs = model.tokenizer(text, return_tensors="pt").to(model.device)
    network = model.model.eval()

    def forward(dtype: torch.dtype | None) -> Callable[[], Any]:
        def call() -> Any:
            with torch.inference_mode(), torch.autocast(model.device.type, dtype=dtype, enabled=dtype is not None):
                return network(**inputs).logits.float().cpu()

        return call

    def middle(call: Callable[[], Any]) -> Callable[[], Run]:
        def run() -> Run:
            found = []
            for _ in range(calls):
                started = Clock.now()
                call()
                found.append(Clock.now() - started)
            return Run(statistics.median(found) * 1000, 1)

        return run

    contestants = {
        "predict of one text": middle(lambda: model.predict([text])),
        "forward, float32": middle(forward(None)),
        "forward, bf16 autocast": middle(forward(torch.bfloat16)),
    }
    runs = alternate(contestants, rounds)
    fastest = min(list(runs)[1:], key=lambda name: statistics.median(run.seconds for run in runs[name]))
    return compared(
        runs, "predict of one text", part="latency", work="one text", unit="ms", targets={fastest: "<= 1.25"},
        what=lambda run: run.seconds,
    )  # fmt: skip


def questions(rounds: int, rows: int) -> list[Row]:
    """Return which share of `eval_model`'s time on questions is not the model's."""
    from race_ours import Ours, model_for

    work = WORKS["squad"]().first(1, rows)
    ours = Ours(work, 8)
    ours.trained = model_for(work)
    inside = [0.0]
    outputs = ours.trained.outputs

    def timed(*given: Any, **options: Any) -> Any:
        with lap() as call:
            result = outputs(*given, **options)
        inside[0] = call.seconds
        return result

    ours.trained.outputs = timed

    def run() -> Run:
        call = ours.evaluate()
        return Run(call.seconds, call.units, {"around": call.seconds - inside[0]})

    runs = alternate({"eval_model": run}, rounds)["eval_model"]
    seconds = [run.seconds for run in runs]
    around = [run.further["around"] for run in runs]
    found = Row("qa", "squad", "before and after the model", "eval_model", "s")
    found.our_speed, found.peer_speed = statistics.median(around), statistics.median(seconds)
    found.ratio, found.target = ratio(around, seconds), "<= 0.05"
    found.note = f"{rows} questions"
    return [found]


def encode(rounds: int, rows: int) -> list[Row]:
    """Sentence vectors, beside sentence-transformers, where both are there."""
    import importlib.util

    import easytx

    skipped = Row("encode", "goemotions", "encode_sentences", "sentence-transformers")
    if "RepresentationModel" not in easytx.__all__:
        skipped.note = "skipped: easytx has no RepresentationModel"
        return [skipped]
    if importlib.util.find_spec("sentence_transformers") is None:
        skipped.note = "skipped: sentence-transformers is not installed"
        return [skipped]
    from sentence_transformers import SentenceTransformer

    from easytx.core.loading import resolve_name

    texts = [row["texts"][0] for row in WORKS["goemotions"]().first(1, rows).held_out]
    model = easytx.RepresentationModel("starter", args={"max_seq_length": 128, "silent": True})
    peer = SentenceTransformer(resolve_name("starter"), device=str(model.device))
    peer.max_seq_length = 128

    def timed(call: Callable[[], Any]) -> Callable[[], Run]:
        def run() -> Run:
            with lap() as found:
                call()
            return Run(found.seconds, len(texts))

        return run

    contestants = {"encode_sentences": timed(lambda: model.encode_sentences(texts, combine_strategy="mean"))}
    for size in (32, 128):
        contestants[f"sentence-transformers, batch {size}"] = timed(
            lambda size=size: peer.encode(texts, batch_size=size, show_progress_bar=False)
        )
    runs = alternate(contestants, rounds)
    return compared(runs, "encode_sentences", part="encode", work="goemotions", unit="rows/s", targets={})
