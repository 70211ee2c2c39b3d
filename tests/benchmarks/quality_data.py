"""Rows and recipe of the quality checks."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pandas as pd

DATA = Path(os.environ.get("EASYTX_DATA", Path(__file__).parents[2] / "../shared/data")).resolve()

# 6 % warm-up, linear decay and no weight decay are the defaults.
RECIPE = {"learning_rate": 5e-5, "train_batch_size": 16, "max_seq_length": 128, "no_save": True, "silent": True}

Scores = dict[str, float]


def frames(folder: str, renames: dict[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the training and validation rows of a set with our column names."""
    train, held_out = (pd.read_parquet(DATA / folder / f"{split}.parquet") for split in ("train", "validation"))
    return train.rename(columns=renames), held_out.rename(columns=renames)


def emotions() -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return 20,000 training rows of GoEmotions, its validation rows, and the names of its labels."""
    train, held_out = frames("goemotions", {})
    train = train.sample(20_000, random_state=0)
    names = (DATA / "goemotions/labels.txt").read_text().split()
    for frame in (train, held_out):
        frame["labels"] = [[int(i in row) for i in range(len(names))] for row in frame["labels"]]
    return train, held_out, names


def questions(name: str, *, once: bool = False) -> pd.DataFrame:
    """Return the questions of a file of SQuAD with their paragraphs; with `once`, one question of each paragraph."""
    with gzip.open(DATA / "squad" / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    frame = pd.DataFrame(
        [(qa["question"], part["context"]) for a in articles for part in a["paragraphs"] for qa in part["qas"]],
        columns=["query_text", "gold_passage"],
    )
    return frame.drop_duplicates("gold_passage" if once else ["query_text", "gold_passage"], ignore_index=True)
