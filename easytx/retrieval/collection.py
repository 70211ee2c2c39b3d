"""Data sets on disk that judge passages: in the layout of BEIR, or in that of MS MARCO.

BEIR (https://github.com/beir-cellar/beir) has corpus.jsonl, queries.jsonl and qrels/<split>.tsv; MS MARCO
(https://microsoft.github.io/msmarco) has collection.tsv, queries.<split>.tsv and qrels.<split>.tsv, without headers.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from easytx.errors import DataError

# Which judgements to read: the first ones that are there.
_SPLITS = {"train": ("train",), "eval": ("dev", "dev.small", "test")}


@dataclass(frozen=True)
class Collection:
    """Passages, queries, and how right a passage is for a query.

    Attributes:
        corpus: With the columns `passages` and, where passages have any, `title`, under their ids.
        queries: Their texts, under their ids.
        judged: With the columns `query` and `passage`, which are ids, and `gain`, above 0.
    """

    corpus: pd.DataFrame
    queries: pd.Series
    judged: pd.DataFrame

    def pairs(self) -> pd.DataFrame:
        """Return one row per right passage: query_id, query_text, gold_passage and, where there are any, title."""
        passages = self.corpus.loc[self.judged["passage"]].rename(columns={"passages": "gold_passage"})
        passages.insert(0, "query_id", self.judged["query"].to_numpy())
        passages.insert(1, "query_text", self.queries.loc[self.judged["query"]].to_numpy())
        return passages.reset_index(drop=True)

    def best_pairs(self) -> pd.DataFrame:
        """Return one row per query, with the best of its passages."""
        best = self.judged.sort_values("gain", ascending=False, kind="stable").drop_duplicates("query").sort_index()
        return Collection(self.corpus, self.queries, best).pairs()

    def searched(self) -> dict[str, Any]:
        """Return what to search for `best_pairs`, and what is right for each, as options of `eval_model`."""
        titles = self.corpus["title"] if "title" in self.corpus else pd.Series("", index=self.corpus.index)
        keys = dict(zip(self.corpus.index, zip(self.corpus["passages"], titles, strict=True), strict=True))
        gains: dict[str, dict[tuple[str, str], float]] = {query: {} for query in self.judged["query"]}
        for query, passage, gain in self.judged[["query", "passage", "gain"]].itertuples(index=False):
            gains[query][keys[passage]] = float(gain)
        return {"additional_passages": self.corpus.rename_axis("id").reset_index(), "relevant_docs": [*gains.values()]}


def read_collection(folder: str | Path, kind: str, split: str, *, name: str) -> Collection:
    """Return a data set.

    Args:
        folder: Where it is.
        kind: "beir" or "msmarco".
        split: "train" or "eval", for which "dev", or else "dev.small" or "test" is read.
        name: What to call the rows in messages.

    Raises:
        DataError: If a file is missing, or judgements name unknown queries or passages.
    """
    folder = Path(folder)
    pattern = "qrels/{}.tsv" if kind == "beir" else "qrels.{}.tsv"
    there = [part for part in _SPLITS[split] if (folder / pattern.format(part)).is_file()]
    part = there[0] if there else _SPLITS[split][0]
    files = ["corpus.jsonl", "queries.jsonl"] if kind == "beir" else ["collection.tsv", f"queries.{part}.tsv"]
    judgements = " or ".join(pattern.format(part) for part in there or _SPLITS[split])
    absent = [file for file in (*files, *([] if there else [judgements])) if not (folder / file).is_file()]
    if absent:
        raise DataError(f"{name} is the folder '{folder}' with data_format='{kind}', but there is no '{absent[0]}'.")
    passages, queries = (_texts(folder / file) for file in files)
    corpus = passages.rename(columns={"text": "passages"})
    if "title" in corpus and not (corpus["title"] != "").any():
        corpus = corpus.drop(columns="title")
    judged = _judgements(folder / pattern.format(part), has_header=kind == "beir")
    for column, known in (("query", queries.index), ("passage", corpus.index)):
        unknown = sorted(set(judged[column]) - set(known))
        if unknown:
            raise DataError(f"{name} has judgements on unknown ids of a {column}: {unknown[:5]}.")
    return Collection(corpus, queries["text"], judged)


def _texts(path: Path) -> pd.DataFrame:
    """Return texts, and titles where there are any, under their ids."""
    if path.suffix == ".jsonl":
        frame = pd.read_json(path, lines=True, dtype=False).rename(columns={"_id": "id"})
    else:
        frame = _table(path).set_axis(["id", "text"], axis="columns")
    kept = [column for column in ("text", "title") if column in frame]
    return frame.astype({"id": str}).set_index("id")[kept].fillna("").astype(str)


def _judgements(path: Path, *, has_header: bool) -> pd.DataFrame:
    frame = _table(path, has_header=has_header)
    # trec_eval's form has a number of no meaning in the second place.
    frame = frame.drop(columns=frame.columns[1]) if frame.shape[1] == 4 else frame
    frame = frame.set_axis(["query", "passage", "gain"], axis="columns").astype({"gain": float})
    return frame[frame["gain"] > 0].reset_index(drop=True)


def _table(path: Path, *, has_header: bool = False) -> pd.DataFrame:
    header: Any = 0 if has_header else None
    return pd.read_csv(path, sep="\t", header=header, dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE)
