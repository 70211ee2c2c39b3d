"""Passages that a model looks up: read from whatever holds them, cut into pieces, and searched by their vectors."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from datasets import Dataset

from easytx.config.model_args import ModelArgs
from easytx.data.cache import without_bars
from easytx.data.checks import texts_of, with_article
from easytx.data.frames import Columns, as_texts, read_file
from easytx.data.tables import as_dataset
from easytx.errors import ArgumentError, DataError, MissingExtraError

# Where a model folder keeps its passages, and the index among their files; the names are those of Simple Transformers.
FOLDER = "knowledge_dataset"
_INDEX = "hf_dataset_index.faiss"
# What transformers' retriever calls the folder of passages inside the one that it writes.
_INNER = "hf_dataset"

_COLUMNS = Columns(texts=(("title", "text"), ("text",)), labels=())
_EMBEDDED = ("title", "text", "embeddings")

# Names that show that the first line of a file is a header.
_NAMES = {"content", "context", "document", "id", "passage", "passages", "text", "title"}

_FLAT, _HNSW = "IndexFlatIP", "IndexHNSWFlat"


class Knowledge:
    """Passages with their vectors, and an index that searches them by dot product.

    Attributes:
        passages: With the columns title, text and embeddings.
        index: Of faiss.
        folder: Where they were read from; None for passages that lie nowhere yet.
    """

    def __init__(self, passages: Dataset, index: Any, *, width: int, folder: Path | None = None) -> None:
        """Take passages and the index of their vectors.

        Args:
            passages: With the columns title, text and embeddings.
            index: Of faiss.
            width: The numbers of a question's vector.
            folder: Where they were read from.

        Raises:
            DataError: If vectors of passages are not as long, or the index is one of others.
        """
        self._vectors = passages.with_format("numpy", columns=["embeddings"])
        own = len(self._vectors[0]["embeddings"])
        if own != width:
            raise DataError(
                f"knowledge_dataset has vectors of {own} numbers, and those of questions have {width}. Take the "
                "encoder of questions that goes with them."
            )
        if (index.ntotal, index.d) != (len(passages), width):
            raise DataError(
                f"The index of knowledge_dataset has {index.ntotal} vectors of {index.d} numbers, but there are "
                f"{len(passages)} passages with vectors of {width}. Give the index_path that belongs to them, or none."
            )
        self.passages, self.index, self.folder = passages, index, folder

    def search(self, vectors: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the nearest passages, of shape (queries, found), best first, and their vectors.

        Args:
            vectors: Of queries, of shape (queries, width).
            number: How many to find; fewer where there are fewer.

        Raises:
            DataError: If an index that searches a part of the passages has looked at too few.
        """
        number = min(number, len(self.passages))
        _, places = self.index.search(np.ascontiguousarray(vectors, dtype=np.float32), number)
        if (places < 0).any():
            raise DataError(
                f"The index of knowledge_dataset has found fewer than {number} passages for a query. Take another "
                f"faiss_index_type, such as '{_FLAT}', or fewer n_docs in args.config."
            )
        unique, where = np.unique(places, return_inverse=True)
        found = np.asarray(self._vectors[unique.tolist()]["embeddings"], dtype=np.float32)
        return places, found[where.reshape(places.shape)]

    def texts(self, places: np.ndarray) -> list[dict[str, list[str]]]:
        """Return, for each query, title and text of the passages at these places, of shape (queries, found)."""
        unique, where = np.unique(places, return_inverse=True)
        read = self.passages.select_columns(["title", "text"])[unique.tolist()]
        rows: Any = where.reshape(places.shape).tolist()
        return [{name: [read[name][i] for i in row] for name in read} for row in rows]

    def write(self, folder: Path) -> None:
        """Write passages and index into a folder, unless they are there."""
        if self.folder is not None and self.folder.resolve() == folder.resolve():
            return
        if _name_of(folder) != self.passages._fingerprint:
            shutil.rmtree(folder, ignore_errors=True)
            with without_bars():
                self.passages.save_to_disk(folder)
        write_index(self.index, folder)


def check_options(args: ModelArgs, width: int) -> None:
    """Raise if arguments do not go together with vectors of this width, or what searches them is not there.

    Raises:
        ArgumentError: Naming the argument.
        MissingExtraError: If faiss is not installed.
    """
    if importlib.util.find_spec("faiss") is None:
        raise MissingExtraError.of("faiss-cpu", "retrieval", "A model that looks up passages")
    usual = type(args)()
    if args["faiss_d"] not in (usual["faiss_d"], width):
        raise ArgumentError(
            f"faiss_d is {args['faiss_d']}, but vectors of passages have {width} numbers. Leave faiss_d out."
        )
    if not args["split_text_character"]:
        raise ArgumentError("split_text_character is empty. Set what parts the words of a text, such as ' '.")
    _empty_index(width, args)


def read_rows(data: Any, args: ModelArgs) -> pd.DataFrame:
    """Return a caller's passages as a frame with the columns title and text.

    Args:
        data: A frame, or the path of one, with the column `text` and perhaps `title`; a list of texts, of (title, text)
            or of dicts; a `datasets.Dataset`.
        args: For `encoding`, and for `include_title_in_corpus`.

    Raises:
        DataError: If there are none, or they have another form.
    """
    name = FOLDER
    if isinstance(data, (str, Path)):
        data = _file(Path(data), args)
    frame = as_texts(data, _COLUMNS, name=name, args=args)
    titles = [""] * len(frame)
    if args["include_title_in_corpus"] and "title" in frame:
        titles = texts_of(frame.assign(title=frame["title"].fillna("")), "title", name=name)
    return pd.DataFrame({"title": titles, "text": texts_of(frame, "text", name=name)}, dtype=object)


def split(rows: pd.DataFrame, args: ModelArgs) -> pd.DataFrame:
    """Return the pieces of texts, each once, with `split_text_n` words or fewer; a piece has its text's title."""
    character, number = args["split_text_character"], args["split_text_n"]
    pieces = []
    for title, text in zip(rows["title"], rows["text"], strict=True):
        words = text.split(character)
        parts = (character.join(words[start : start + number]).strip() for start in range(0, len(words), number))
        pieces += [(title, part) for part in parts if part]
    if not pieces:
        raise DataError(f"{FOLDER} has no text.")
    return pd.DataFrame(pieces, columns=["title", "text"], dtype=object).drop_duplicates(ignore_index=True)


def read_embedded(data: Any) -> tuple[Dataset, Path | None] | None:
    """Return passages that have vectors already, and the folder that they are in; None for all else.

    Args:
        data: A `datasets.Dataset`, or a folder that one was saved to.

    Raises:
        DataError: If there is no such file or folder, or the folder holds no passages with vectors.
    """
    if isinstance(data, Dataset):
        return (_checked(data, FOLDER), None) if "embeddings" in data.column_names else None
    if not isinstance(data, (str, Path)):
        return None
    folder = Path(data)
    if not folder.exists():
        raise DataError(f"{FOLDER} is the path '{folder}', where there is no file or folder.")
    if not folder.is_dir():
        return None
    inner = folder / _INNER if (folder / _INNER).is_dir() else folder
    if not (inner / "state.json").is_file():
        raise DataError(
            f"{FOLDER} is the folder '{folder}', which holds no data set. Give the folder of a "
            "datasets.Dataset.save_to_disk, or a file of passages."
        )
    return _checked(Dataset.load_from_disk(str(inner)), f"{FOLDER} in '{folder}'"), folder


def embedded(rows: pd.DataFrame, vectors: np.ndarray) -> Dataset:
    """Return passages with their vectors, of shape (passages, width)."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    columns = {"title": rows["title"].tolist(), "text": rows["text"].tolist()}
    return as_dataset(pa.table({**columns, "embeddings": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}))


def index_file(folder: Path | None, index_path: str | Path | None) -> Path | None:
    """Return the file that an index is to be read from; None where one is to be made.

    Raises:
        DataError: If `index_path` is no file.
    """
    if index_path is not None and not Path(index_path).is_file():
        raise DataError(f"index_path is '{index_path}', where there is no file.")
    usual = None if folder is None else folder / _INDEX
    if index_path is not None:
        return Path(index_path)
    return usual if usual is not None and usual.is_file() else None


def read_index(path: Path) -> Any:
    """Return the index in a file.

    Raises:
        DataError: If faiss cannot read it.
    """
    import faiss

    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise DataError(f"The file '{path}' is no index of faiss.") from error


def write_index(index: Any, folder: Path) -> None:
    """Write an index beside its passages."""
    import faiss

    faiss.write_index(index, str(folder / _INDEX))


def made_index(passages: Dataset, args: ModelArgs) -> Any:
    """Return an index of the vectors of passages, of the kind that the arguments ask for."""
    vectors = np.asarray(passages.with_format("numpy", columns=["embeddings"])[:]["embeddings"], dtype=np.float32)
    vectors = np.ascontiguousarray(vectors)
    index = _empty_index(vectors.shape[1], args)
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    return index


def _empty_index(width: int, args: ModelArgs) -> Any:
    import faiss

    kind, metric = args["faiss_index_type"], faiss.METRIC_INNER_PRODUCT
    if kind == _HNSW:
        return faiss.IndexHNSWFlat(width, args["faiss_m"], metric)
    try:
        return faiss.index_factory(width, "Flat" if kind == _FLAT else kind, metric)
    except RuntimeError as error:
        raise ArgumentError(
            f"faiss_index_type is '{kind}'. Take '{_FLAT}', which searches exactly, '{_HNSW}', or what "
            "faiss.index_factory takes."
        ) from error


def _file(path: Path, args: ModelArgs) -> pd.DataFrame:
    frame = read_file(path, name=FOLDER, args=args)
    named = {str(column).lower() for column in frame.columns} & _NAMES
    if path.suffix.lower() != ".tsv" or named or len(frame.columns) > 2:
        return frame
    # Simple Transformers' files have no header. The first passage is not lost, and a word is said.
    form = _COLUMNS.texts[0] if len(frame.columns) == 2 else _COLUMNS.texts[1]
    header = pd.DataFrame([[*frame.columns]], columns=frame.columns)
    rows: Any = pd.concat([header, frame], ignore_index=True).set_axis(range(len(form)), axis="columns")
    return rows  # type: ignore[no-any-return]


def _checked(passages: Dataset, name: str) -> Dataset:
    missing = [column for column in _EMBEDDED if column not in passages.column_names]
    if missing:
        raise DataError(f"{name} needs the columns {list(_EMBEDDED)}, but has {passages.column_names}.")
    if len(passages) == 0:
        raise DataError(f"{name} has no rows.")
    passages = passages.with_format(None)
    first = passages[0]["embeddings"]
    if not isinstance(first, Sequence) or isinstance(first, str):
        raise DataError(f"{name} has {with_article(type(first).__name__)} instead of a vector in 'embeddings'.")
    return passages


def _name_of(folder: Path) -> str | None:
    """Return what datasets calls the data set in a folder."""
    path = folder / "state.json"
    return json.loads(path.read_text("utf-8")).get("_fingerprint") if path.is_file() else None
