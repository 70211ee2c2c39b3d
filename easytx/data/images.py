"""Images as the caller has them, kept as files or compressed bytes and opened a batch at a time."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa

from easytx.data.checks import counted, rows
from easytx.data.tokenise import lengths_of
from easytx.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from PIL.Image import Image as Picture

# The column of a dataset that holds images.
IMAGE = "image"

# Images per chunk of a table: Arrow counts the bytes of one chunk with 31 bits.
_CHUNK = 256


class Stored(TypedDict):
    """An image as a dataset holds it: a file's path, or the file's content."""

    bytes: bytes | None
    path: str | None


def need_pillow(purpose: str) -> None:
    """Raise if images cannot be opened.

    Raises:
        MissingExtraError: If Pillow is not installed.
    """
    try:
        import PIL.Image  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("pillow", "multimodal", purpose) from error


def stored_images(column: pd.Series, *, name: str) -> list[Stored]:
    """Return the images of a column as paths or compressed bytes; each file is opened once to see that it can be.

    Args:
        column: Paths, bytes of image files, Pillow images, or arrays of shape (height, width) or (height, width,
            channels); or dicts of `bytes` and `path`, as `datasets` has them.
        name: What to call the rows in messages.

    Raises:
        DataError: If an image is missing, is none of these, or cannot be read; with row numbers.
    """
    _refuse_missing(column, name)
    seen: dict[Any, Stored] = {}
    found, unreadable = [], {}
    for row, value in enumerate(column):
        # The same image often stands in many rows. Those of a frame live as long as the frame does.
        key = value if isinstance(value, (str, bytes, Path)) else id(value)
        if key not in seen:
            stored = _stored(value, row, name)
            cause = _why_unreadable(stored)
            if cause is not None:
                unreadable[row] = f"{_shown(stored)} ({cause})"
                continue
            seen[key] = stored
        found.append(seen[key])
    if unreadable:
        raise DataError(
            f"{name} has {counted(len(unreadable), 'image')} that cannot be read: {rows(unreadable)}. "
            f"The first is {next(iter(unreadable.values()))}. Mend or drop these rows."
        )
    return found


def with_images(dataset: Dataset, images: Sequence[Stored], row: np.ndarray, *, cost: int) -> Dataset:
    """Return the dataset with the image of each feature, which is opened when the feature is read.

    Args:
        dataset: Features.
        images: One a row.
        row: The row of each feature, of shape (features,).
        cost: Tokens of text that an image costs about as much as; added to the lengths, for batches that fit.
    """
    from datasets import Dataset, Image

    of_features = [images[i] for i in row]
    kind = Image().pa_type
    chunks = [pa.array(of_features[i : i + _CHUNK], type=kind) for i in range(0, len(of_features), _CHUNK)]
    table = dataset.data.table.append_column(IMAGE, pa.chunked_array(chunks, type=kind))
    place = table.column_names.index("length")
    table = table.set_column(place, "length", pa.array(lengths_of(dataset) + cost))
    return Dataset(table).cast_column(IMAGE, Image())


def image_keys(column: pd.Series) -> pd.Series:
    """Return a short text for each image: its path, or a digest of its content."""
    return column.map(_key)


class ImageCollator:
    """Makes a batch of texts and images.

    Args:
        pad: Makes a batch of the texts.
        processor: The image processor of the vision encoder.
    """

    def __init__(self, pad: Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]], processor: Any) -> None:
        self.pad, self.processor = pad, processor

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return token ids, padded, and pixels, of shape (rows, channels, height, width)."""
        texts = [{name: value for name, value in feature.items() if name != IMAGE} for feature in features]
        # Greyscale, transparent and palette images become what encoders read.
        pictures = [feature[IMAGE].convert("RGB") for feature in features]
        pixels = self.processor(images=pictures, return_tensors="pt")["pixel_values"]
        return {**self.pad(texts), "pixel_values": pixels}


def _refuse_missing(column: pd.Series, name: str) -> None:
    missing = [i for i, value in enumerate(column) if value is None or (isinstance(value, float) and np.isnan(value))]
    if missing:
        raise DataError(
            f"{name} has no image in {counted(len(missing), 'row')} of the column '{column.name}': {rows(missing)}. "
            f"Fill or drop them, for example {name}.dropna(subset=['{column.name}'])."
        )


def _stored(value: Any, row: int, name: str) -> Stored:
    from PIL.Image import Image as Picture

    if isinstance(value, (str, Path)):
        return {"bytes": None, "path": str(value)}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value), "path": None}
    if isinstance(value, Mapping) and {"bytes", "path"} <= set(value):
        return {"bytes": value["bytes"], "path": value["path"]}
    if isinstance(value, np.ndarray):
        value = _picture(value, row, name)
    if isinstance(value, Picture):
        return {"bytes": _compressed(value), "path": None}
    raise DataError(
        f"{name} has a {type(value).__name__} instead of an image in row {row}. "
        "Give a path, a Pillow image, the bytes of an image file, or an array of whole numbers from 0 to 255."
    )


def _picture(array: np.ndarray, row: int, name: str) -> Picture:
    from PIL.Image import fromarray

    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    whole = array.dtype.kind in "iu" and array.size > 0 and 0 <= array.min() <= array.max() <= 255
    if not fits or not whole:
        raise DataError(
            f"{name} has an array of shape {array.shape} and type {array.dtype} for an image in row {row}. Expected "
            "are whole numbers from 0 to 255, of shape (height, width) or (height, width, 3 or 4)."
        )
    return fromarray(array.astype(np.uint8))


def _compressed(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    # Of the modes that PNG cannot hold, such as CMYK, none has more than red, green and blue can show.
    known = picture.mode in {"1", "L", "LA", "P", "RGB", "RGBA"}
    (picture if known else picture.convert("RGB")).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _why_unreadable(stored: Stored) -> str | None:
    """Return why an image cannot be decoded, or None if it can."""
    from PIL.Image import DecompressionBombError
    from PIL.Image import open as open_image

    try:
        content = stored["bytes"]
        with open_image(str(stored["path"]) if content is None else io.BytesIO(content)) as picture:
            # A JPEG is decoded at an eighth of its size, which shows as well whether it is whole.
            picture.draft("RGB", (max(picture.width // 8, 1), max(picture.height // 8, 1)))
            picture.load()
    except FileNotFoundError:
        return "there is no such file"
    except (OSError, SyntaxError, ValueError, DecompressionBombError) as error:
        return str(error).split(" <")[0] or type(error).__name__
    return None


def _shown(stored: Stored) -> str:
    return f"'{stored['path']}'" if stored["bytes"] is None else f"one of {len(stored['bytes'])} bytes"


def _key(value: Any) -> str:
    if isinstance(value, (str, Path)):
        return str(value)
    if isinstance(value, Mapping):
        return _key(value["bytes"]) if value.get("bytes") is not None else str(value.get("path"))
    content = bytes(value) if isinstance(value, (bytes, bytearray)) else np.ascontiguousarray(value).tobytes()
    return f"image {hashlib.sha256(content).hexdigest()[:12]}"
