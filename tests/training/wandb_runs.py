"""Reading back what the real wandb client has written into a folder, without any server."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_BLOCK, _HEADER = 32768, 7

# The longest wait for the end of a run to be written, in seconds.
_PATIENCE = 5.0


@dataclass
class Run:
    """What one folder of an offline run holds.

    Attributes:
        id: The run's id.
        folder: Where it is.
        config: The hyperparameters.
        history: Its rows, nested names joined by dots.
        summary: Its last values.
        artifacts: Name -> aliases, file names and metadata of each that was logged.
        exit_code: None for a run that was not finished.
    """

    folder: Path
    id: str = ""
    project: str = ""
    name: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: list[tuple[str, list[str], list[str], dict[str, Any]]] = field(default_factory=list)
    exit_code: int | None = None

    def column(self, name: str) -> list[Any]:
        """Return the values of the rows that have this name."""
        return [row[name] for row in self.history if name in row]

    def tables(self, name: str) -> list[dict[str, Any]]:
        """Return the tables that were logged under a name, in order, as strict JSON."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        paths = self.column(f"{name}.path")
        texts = [(self.folder / "files" / path).read_text("utf-8") for path in paths]
        return [json.loads(text, parse_constant=refuse) for text in texts]


def runs(folder: str | Path) -> list[Run]:
    """Return the offline runs below a folder, oldest first."""
    paths = [path for path in Path(folder).rglob("*.wandb") if "latest-run" not in path.parts]
    return [_finished(path) for path in sorted(paths, key=lambda path: path.parent.stat().st_ctime_ns)]


def _finished(path: Path) -> Run:
    """Return a run; its last records are written a moment after `finish` has returned."""
    patience = time.monotonic() + _PATIENCE
    while (run := _run(path)).exit_code is None and time.monotonic() < patience:
        time.sleep(0.02)
    return run


def _run(path: Path) -> Run:
    run = Run(path.parent)
    for record in _records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.project, run.name = record.run.run_id, record.run.project, record.run.display_name
            run.config |= _values(record.run.config.update)
        elif kind == "config":
            run.config |= _values(record.config.update)
        elif kind == "history":
            run.history.append(_values(record.history.item))
        elif kind == "summary":
            run.summary |= _values(record.summary.update)
        elif kind == "artifact":
            artifact = record.artifact
            files = [entry.path for entry in artifact.manifest.contents]
            metadata = json.loads(artifact.metadata) if artifact.metadata else {}
            run.artifacts.append((artifact.name, sorted(artifact.aliases), files, metadata))
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(data: bytes) -> Iterator[Any]:
    """Give the records of a LevelDB log: blocks of 32 KiB with a header before each part of a record."""
    offset, part = 7, b""
    while offset + _HEADER <= len(data):
        left = _BLOCK - offset % _BLOCK
        if left < _HEADER:
            offset += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, offset)
        if kind == 0 or offset + _HEADER + size > len(data):
            return
        part += data[offset + _HEADER : offset + _HEADER + size]
        offset += _HEADER + size
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            part = b""
            yield record
