"""What the race is run over: rows of real data sets, and a mix of very different lengths."""

from __future__ import annotations

import gzip
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("EASYTX_DATA", Path(__file__).parents[2] / "../shared/data")).resolve()


@dataclass(frozen=True)
class Work:
    """Rows of one task.

    Attributes:
        name: What the table calls it.
        kind: "classification", "multi_label", "ner" or "qa".
        train: Rows as dicts: `texts` (one or two) or `words`, and `labels`; for "qa" entries in SQuAD's form.
        held_out: Rows to evaluate on, in the same form.
        labels: All labels; numbers for classification, names elsewhere, none for "qa".
        max_length: Tokens of a row at most.
    """

    name: str
    kind: str
    train: list[dict[str, Any]]
    held_out: list[dict[str, Any]]
    labels: list[Any]
    max_length: int = 128

    def first(self, train: int, held_out: int) -> Work:
        """Return the same work with so many rows of each split at most; they are repeated where there are fewer."""
        rows = {"train": repeated(self.train, train), "held_out": repeated(self.held_out, held_out)}
        return Work(**{**vars(self), **rows})


def repeated(rows: list[Any], number: int) -> list[Any]:
    """Return so many rows, from the beginning again where there are fewer."""
    return [rows[i % len(rows)] for i in range(number)]


def _records(folder: str) -> list[list[dict[str, Any]]]:
    import pandas as pd

    frames = (pd.read_parquet(DATA / folder / f"{split}.parquet") for split in ("train", "validation"))
    # Some sets are sorted by label or source; a short race should see all of them.
    return [frame.sample(frac=1, random_state=0).to_dict("records") for frame in frames]


def mrpc() -> Work:
    """Pairs of sentences: do they say the same?"""
    splits = [
        [{"texts": [row["sentence1"], row["sentence2"]], "labels": int(row["label"])} for row in rows]
        for rows in _records("mrpc")
    ]
    return Work("mrpc", "classification", *splits, labels=[0, 1])


def goemotions() -> Work:
    """Short comments with any of 28 emotions."""
    names = (DATA / "goemotions/labels.txt").read_text("utf-8").split()
    splits = [
        [{"texts": [row["text"]], "labels": [int(i in row["labels"]) for i in range(len(names))]} for row in rows]
        for rows in _records("goemotions")
    ]
    return Work("goemotions", "multi_label", *splits, labels=names)


def conll2003() -> Work:
    """Sentences with a tag for each word."""
    splits = [
        [{"words": list(map(str, row["tokens"])), "labels": list(map(str, row["tags"]))} for row in rows]
        for rows in _records("conll2003")
    ]
    tags = sorted({tag for row in splits[0] for tag in row["labels"]}, key=lambda tag: (tag != "O", tag))
    return Work("conll2003", "ner", *splits, labels=tags)


def squad() -> Work:
    """Questions with a paragraph each, read in windows of 384 tokens."""
    splits = []
    for name in ("squad_v1_train_4k", "squad_v1_dev_sample"):
        with gzip.open(DATA / "squad" / f"{name}.json.gz", "rt", encoding="utf-8") as file:
            articles = json.load(file)["data"]
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
        rows = [{"context": p["context"], "qas": [question]} for p in paragraphs for question in p["qas"]]
        random.Random(0).shuffle(rows)
        splits.append(rows)
    return Work("squad", "qa", *splits, labels=[], max_length=384)


def skewed() -> Work:
    """Texts of 5 to 512 tokens, most of them short, some at the limit: what forums and tickets look like."""
    chance = random.Random(0)
    words = [word for row in mrpc().train for text in row["texts"] for word in text.split()]
    rows = []
    for _ in range(12_000):
        number = min(max(int(chance.lognormvariate(3.6, 1.1)), 3), 480)
        start = chance.randrange(len(words) - number)
        # Something to learn: which of two words stands first.
        label = chance.randrange(2)
        rows.append({"texts": [" ".join([("yes", "no")[label], *words[start : start + number]])], "labels": label})
    return Work("skewed", "classification", rows[2_000:], rows[:2_000], labels=[0, 1], max_length=512)


WORKS = {"mrpc": mrpc, "goemotions": goemotions, "conll2003": conll2003, "squad": squad, "skewed": skewed}
