"""Samples of texts and images on disk: one JSON file each, or a table of texts and image files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from easytx.config.model_args import ModelArgs
from easytx.data.checks import counted
from easytx.errors import DataError

# What a call may say of its rows; without it the arguments of the same name hold.
PLACES = (
    "image_path",
    "text_label",
    "labels_label",
    "images_label",
    "image_type_extension",
    "data_type_extension",
)


@dataclass(frozen=True)
class Samples:
    """Where the parts of samples are.

    Attributes:
        labels: The caller's name of each of our columns.
        image_path: The folder that image files lie in; None for that of the samples, or the current one.
        image_suffix: What the names of image files lack at their end, such as ".jpg".
        sample_suffix: The end of the names of sample files; empty for ".json".
        files: The names of the samples to read, or a JSON file that lists them; None for all of a folder.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    image_path: str | Path | None = None
    image_suffix: str = ""
    sample_suffix: str = ""
    files: Sequence[str] | str | Path | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any], args: ModelArgs) -> Samples:
        """Return what was said in a call, and in the arguments where the call is silent."""
        given = {name: value for name, value in options.items() if value is not None}
        return cls(
            labels={
                "text": given.get("text_label", args["text_label"]),
                "labels": given.get("labels_label", args["labels_label"]),
                "images": given.get("images_label", args["images_label"]),
            },
            image_path=options.get("image_path"),
            image_suffix=_dotted(given.get("image_type_extension", args["image_type_extension"])),
            sample_suffix=_dotted(given.get("data_type_extension", args["data_type_extension"])),
            files=options.get("files_list"),
        )

    def rows(self, data: Any, *, name: str) -> Any:
        """Return the caller's data as what any class reads, with our column names.

        Args:
            data: A folder of samples, a dict of lists, or whatever else.
            name: What to call it in messages.

        Raises:
            DataError: If a folder holds no sample, or one that cannot be read; or lists differ in length.
        """
        place = _folder(data)
        if place is not None:
            return self._named(self._read(place, name))
        if self.files is not None:
            hint = " Give output_dir by its name." if isinstance(self.files, (str, Path)) else ""
            kind = type(data).__name__
            raise DataError(f"files_list names samples of a folder, but {name} is a {kind}.{hint}")
        if isinstance(data, Mapping):
            sizes = {key: len(values) for key, values in data.items()}
            if len(set(sizes.values())) > 1:
                raise DataError(f"{name} needs as many texts as images, but its lists have the lengths {sizes}.")
            data = pd.DataFrame({key: list(values) for key, values in data.items()})
        return self._named(data) if isinstance(data, pd.DataFrame) else data

    def located(self, frame: pd.DataFrame, data: Any) -> pd.DataFrame:
        """Return rows whose image files are named in full.

        Args:
            frame: Rows with our column names.
            data: What they were read from.
        """
        folder = _folder(data) or Path() if self.image_path is None else Path(self.image_path)

        def full(value: Any) -> Any:
            if not isinstance(value, (str, Path)):
                return value
            there = str(value).endswith(self.image_suffix)
            return str(folder / (str(value) if there else f"{value}{self.image_suffix}"))

        return frame.assign(images=[full(value) for value in frame["images"]])

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        renames = {theirs: ours for ours, theirs in self.labels.items() if theirs != ours and theirs in frame}
        return frame.drop(columns=[ours for ours in renames.values() if ours in frame]).rename(columns=renames)

    def _read(self, folder: Path, name: str) -> pd.DataFrame:
        suffix = self.sample_suffix or ".json"
        if self.files is None:
            paths = sorted(path for path in folder.iterdir() if path.name.endswith(suffix) and path.is_file())
        else:
            paths = [folder / (file if file.endswith(suffix) else f"{file}{suffix}") for file in self._listed(name)]
        if not paths:
            raise DataError(f"{name} is the folder '{folder}', which holds no file that ends in '{suffix}'.")
        absent = [path.name for path in paths if not path.is_file()]
        if absent:
            raise DataError(
                f"{name} is the folder '{folder}', which lacks {counted(len(absent), 'file')} of files_list: "
                f"{absent[:5]}."
            )
        # An image that is not named is called like its sample.
        unnamed = [{self.labels["images"]: path.name.removesuffix(suffix)} for path in paths]
        return pd.DataFrame([{**own, **_sample(path, name)} for own, path in zip(unnamed, paths, strict=True)])

    def _listed(self, name: str) -> list[str]:
        files: Any = self.files
        if isinstance(files, (str, Path)):
            try:
                files = json.loads(Path(files).read_text("utf-8-sig"))
            except (OSError, ValueError) as error:
                raise DataError(f"files_list is the path '{files}', which could not be read: {error}") from error
        if not isinstance(files, (list, tuple)) or not files:
            raise DataError(f"files_list must name files of the folder {name}, as a list or in a JSON file.")
        return [str(file) for file in files]


def _dotted(suffix: str) -> str:
    """Return the end of a file's name with the dot that it begins with, whether it was given or not."""
    return suffix if not suffix or "." in suffix else f".{suffix}"


def _folder(data: Any) -> Path | None:
    """Return the folder that the data is, or None if it is something else."""
    try:
        return Path(data) if isinstance(data, (str, Path)) and Path(data).is_dir() else None
    except OSError:
        # A text may be too long for a file's name.
        return None


def _sample(path: Path, name: str) -> dict[str, Any]:
    try:
        sample = json.loads(path.read_text("utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{name} has a sample that is no JSON, '{path}': {error}") from error
    if not isinstance(sample, dict):
        raise DataError(f"{name} has a sample that is no JSON object with text, labels and images: '{path}'.")
    return sample
