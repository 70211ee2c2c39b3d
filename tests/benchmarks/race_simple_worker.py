"""Simple Transformers as a worker: one JSON request a line in, one JSON answer a line out.

Runs in an environment of its own, which `race_simple.py` makes.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import warnings
from typing import Any

# What the library prints goes to the error stream; the answers have the output stream to themselves.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
warnings.simplefilter("ignore")

STATE: dict[str, Any] = {}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def now() -> float:
    """Return the time of the clock that the race uses."""
    return CLOCKS[STATE["request"]["clock"]]()


def model_for(request: dict[str, Any]) -> Any:
    """Return a model of the request's kind."""
    import torch

    torch.set_num_threads(request["threads"])
    model = _made(request)
    load = model.load_and_cache_examples

    def forked(*given: Any, **options: Any) -> Any:
        # A process that is forked from one with several threads would wait for those that it does not have.
        torch.set_num_threads(1)
        try:
            return load(*given, **options)
        finally:
            torch.set_num_threads(request["threads"])

    model.load_and_cache_examples = forked
    return model


def _made(request: dict[str, Any]) -> Any:
    import torch

    kind, labels = request["kind"], request["labels"]
    given = {"args": request["args"], "use_cuda": torch.cuda.is_available()}
    if kind == "ner":
        from simpletransformers.ner import NERModel

        return NERModel("bert", request["model"], labels=labels, **given)
    if kind == "multi_label":
        from simpletransformers.classification import MultiLabelClassificationModel

        return MultiLabelClassificationModel("bert", request["model"], num_labels=len(labels), **given)
    if kind == "qa":
        from simpletransformers.question_answering import QuestionAnsweringModel

        return QuestionAnsweringModel("bert", request["model"], **given)
    from simpletransformers.classification import ClassificationModel

    return ClassificationModel("bert", request["model"], num_labels=len(labels), **given)


def frame_of(kind: str, rows: list[dict[str, Any]]) -> Any:
    """Return rows in the form that the library takes."""
    import pandas as pd

    if kind == "qa":
        return rows
    if kind == "ner":
        words = [
            (i, word, tag)
            for i, row in enumerate(rows)
            for word, tag in zip(row["words"], row["labels"], strict=True)
        ]  # fmt: skip
        return pd.DataFrame(words, columns=["sentence_id", "words", "labels"])
    names = ["text"] if len(rows[0]["texts"]) == 1 else ["text_a", "text_b"]
    return pd.DataFrame([row["texts"] for row in rows], columns=names).assign(labels=[row["labels"] for row in rows])


def load(request: dict[str, Any]) -> dict[str, Any]:
    """Read rows and a model."""
    with open(request["rows"], encoding="utf-8") as file:
        rows = json.load(file)
    STATE["request"] = request
    STATE["train"], STATE["held_out"] = (frame_of(request["kind"], rows[name]) for name in ("train", "held_out"))
    STATE["inputs"] = rows["inputs"]
    STATE["model"] = model_for(request)
    return {}


def train(_request: dict[str, Any]) -> dict[str, Any]:
    """Train a new model; `seconds` is that of the steps, `call` that of all."""
    model = STATE["model"] = model_for(STATE["request"])
    steps, seconds = model.train, []

    def timed(*given: Any, **options: Any) -> Any:
        started = now()
        result = steps(*given, **options)
        seconds.append(now() - started)
        return result

    model.train = timed
    started = now()
    model.train_model(STATE["train"])
    return {"seconds": seconds[0], "call": now() - started}


def save(request: dict[str, Any]) -> dict[str, Any]:
    """Write the weights of the last training."""
    STATE["model"].model.save_pretrained(request["folder"])
    return {}


def evaluate(_request: dict[str, Any]) -> dict[str, Any]:
    """Evaluate on the held-out rows."""
    started = now()
    STATE["model"].eval_model(STATE["held_out"], verbose=False)
    return {"seconds": now() - started}


def predict(request: dict[str, Any]) -> dict[str, Any]:
    """Predict the held-out rows."""
    options = {"split_on_space": False} if STATE["request"]["kind"] == "ner" else {}
    started = now()
    predicted = STATE["model"].predict(STATE["inputs"], **options)[0]
    seconds = now() - started
    return {"seconds": seconds, "predicted": predicted if request.get("answers") else None}


def main() -> None:
    """Answer until the input ends."""
    actions = {"load": load, "train": train, "save": save, "evaluate": evaluate, "predict": predict}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = actions[request["do"]](request)
        except Exception as error:  # noqa: BLE001  whatever goes wrong in there is told to the driver
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        ANSWERS.write(json.dumps(answer, default=lambda value: value.tolist()) + "\n")
        ANSWERS.flush()


if __name__ == "__main__":
    main()
