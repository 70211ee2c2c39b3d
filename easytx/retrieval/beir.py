"""Data sets in the layout of BEIR: corpus.jsonl, queries.jsonl and qrels/<split>.tsv (https://github.com/beir-cellar/beir)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from easytx.errors import DataError

# Which file of judgements to read, the first one that is there.
_SPLITS = {"train": ("train",), "eval": ("dev", "test")}


def read_beir(folder: str | Path, split: str, *, name: str) -> pd.DataFrame:
    """Return one row per relevant pair: query_text, gold_passage and, where the corpus has any, title.

    Args:
        folder: The data set.
        split: "train" or "eval", for which qrels/dev.tsv or else qrels/test.tsv is read.
        name: What to call the rows in messages.

    Raises:
        DataError: If a file is missing, or judgements name unknown queries or passages.
    """
    folder = Path(folder)
    judgements = next((p for s in _SPLITS[split] if (p := folder / "qrels" / f"{s}.tsv").is_file()), None)
    for path in (folder / "corpus.jsonl", folder / "queries.jsonl", judgements):
        if path is None or not path.is_file():
            missing = path or f"{folder}/qrels/{' or '.join(f'{s}.tsv' for s in _SPLITS[split])}"
            raise DataError(f"{name} is the folder '{folder}' with data_format='beir', but there is no '{missing}'.")
    corpus, queries = (
        pd.read_json(folder / f"{kind}.jsonl", lines=True, dtype=False).astype({"_id": str}).set_index("_id")
        for kind in ("corpus", "queries")
    )
    pairs = pd.read_csv(str(judgements), sep="\t", dtype={0: str, 1: str}, keep_default_na=False)
    pairs.columns = ["query", "passage", "relevance"]
    pairs = pairs[pairs["relevance"] > 0]
    for column, known in (("query", queries), ("passage", corpus)):
        unknown = sorted(set(pairs[column]) - set(known.index))
        if unknown:
            raise DataError(f"{name} has judgements on unknown ids of a {column}: {unknown[:5]}.")
    columns = {"query_text": queries.loc[pairs["query"], "text"], "gold_passage": corpus.loc[pairs["passage"], "text"]}
    if "title" in corpus:
        columns["title"] = corpus.loc[pairs["passage"], "title"]
    return pd.DataFrame({column: values.tolist() for column, values in columns.items()})
