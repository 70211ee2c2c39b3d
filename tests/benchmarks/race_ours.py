"""easytx in the race, and the judge of all contestants' weights."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from race_clock import Run, lap
from race_work import Work
from transformers import TrainerCallback

LEARNING_RATE = 4e-5
SEED = 1


class StepClock(TrainerCallback):
    """Times the steps of a training, without what comes before and after."""

    def __init__(self) -> None:
        self.lap, self.context = None, None

    def on_train_begin(self, *_given: Any, **_options: Any) -> None:
        self.context = lap()
        self.lap = self.context.__enter__()

    def on_train_end(self, *_given: Any, **_options: Any) -> None:
        self.context.__exit__(None, None, None)

    @property
    def seconds(self) -> float:
        """The steps' duration."""
        return self.lap.seconds


def rows_of(work: Work, rows: list[dict[str, Any]]) -> Any:
    """Return rows in the form that easytx's class takes for training and evaluation."""
    if work.kind == "qa":
        return rows
    if work.kind == "ner":
        return [(row["words"], row["labels"]) for row in rows]
    names = ["text"] if len(rows[0]["texts"]) == 1 else ["text_a", "text_b"]
    frame = pd.DataFrame([row["texts"] for row in rows], columns=names)
    return frame.assign(labels=[row["labels"] for row in rows])


def inputs_of(work: Work, rows: list[dict[str, Any]]) -> list[Any]:
    """Return rows without labels, as `predict` of easytx and of Simple Transformers takes them."""
    if work.kind == "qa":
        return [
            {"context": r["context"], "qas": [{k: q[k] for k in ("id", "question")} for q in r["qas"]]} for r in rows
        ]
    if work.kind == "ner":
        return [row["words"] for row in rows]
    return [row["texts"] if len(row["texts"]) > 1 else row["texts"][0] for row in rows]


def model_for(work: Work, name: str = "starter", **args: Any) -> Any:
    """Return a model of the work's class with its weights loaded."""
    import easytx

    settings = {
        "learning_rate": LEARNING_RATE,
        "manual_seed": SEED,
        "max_seq_length": work.max_length,
        "no_cache": True,
        "no_save": True,
        "silent": True,
        **args,
    }
    if work.kind == "qa":
        model = easytx.QuestionAnsweringModel(name, args={"doc_stride": 240, "max_answer_length": 30, **settings})
    elif work.kind == "ner":
        model = easytx.NERModel(name, labels=work.labels, args=settings)
    elif work.kind == "multi_label":
        model = easytx.MultiLabelClassificationModel(name, num_labels=len(work.labels), args=settings)
    else:
        model = easytx.ClassificationModel(name, num_labels=len(work.labels), args=settings)
    model.model  # noqa: B018  the weights are loaded when they are first asked for
    return model


class Ours:
    """easytx on one work.

    Attributes:
        trained: The model of the last training.
    """

    def __init__(self, work: Work, batch_size: int, **args: Any) -> None:
        self.work, self.batch_size, self.args = work, batch_size, args
        self.train_rows, self.held_out = rows_of(work, work.train), rows_of(work, work.held_out)
        self.inputs = inputs_of(work, work.held_out)
        self.trained: Any = None

    def train(self) -> Run:
        """One epoch over the work's training rows."""
        model = model_for(self.work, train_batch_size=self.batch_size, **self.args)
        clock = StepClock()
        with tempfile.TemporaryDirectory() as folder, lap() as call:
            model.train_model(self.train_rows, output_dir=folder, callbacks=[clock])
        self.trained = model
        return Run(clock.seconds, len(self.work.train), {"call": call.seconds})

    def evaluate(self) -> Run:
        """`eval_model` on the held-out rows."""
        with tempfile.TemporaryDirectory() as folder, lap() as call:
            self.trained.eval_model(self.held_out, output_dir=folder)
        return Run(call.seconds, len(self.work.held_out))

    def predict(self) -> Run:
        """`predict` on the held-out rows."""
        with lap() as call:
            self.predicted = self.trained.predict(self.inputs)[0]
        return Run(call.seconds, len(self.work.held_out))


def saved(model: Any, folder: Path) -> Path:
    """Write weights, configuration and tokenizer only, as any contestant can read them."""
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


def judged(work: Work, weights: Mapping[str, Any]) -> float:
    """Return the score of a contestant's weights on the held-out rows, the same way for all of them."""
    model = model_for(work)
    model.model.load_state_dict(weights)
    if work.kind == "qa":
        with tempfile.TemporaryDirectory() as folder:
            return round(model.eval_model(rows_of(work, work.held_out), output_dir=folder)[0]["f1"], 4)
    return score(work, model.predict(inputs_of(work, work.held_out))[0])


def score(work: Work, predicted: Any) -> float:
    """Return accuracy, for several labels micro F1, for tags the F1 of entities."""
    truth = [row["labels"] for row in work.held_out]
    if work.kind == "ner":
        from seqeval.metrics import f1_score

        tags = [[tag for pair in sentence for tag in pair.values()] for sentence in predicted]
        same_length = [(t, p) for t, p in zip(truth, tags, strict=True) if len(t) == len(p)]
        return round(float(f1_score(*map(list, zip(*same_length, strict=True)))), 4)
    if work.kind == "multi_label":
        from sklearn.metrics import f1_score

        return round(float(f1_score(truth, list(map(list, predicted)), average="micro", zero_division=0)), 4)
    return round(sum(int(a) == int(b) for a, b in zip(truth, predicted, strict=True)) / len(truth), 4)
