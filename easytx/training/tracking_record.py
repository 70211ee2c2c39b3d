"""Which run of a tracker a model was trained in, kept beside its weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUN_FILE = "wandb_run.json"

# More rows than a training adds to its history after its last checkpoint.
_GAP = 10_000


@dataclass(frozen=True)
class RunRecord:
    """Which run a model was trained in, and how far it was.

    Attributes:
        id: None for a run that could not be opened.
        name: What the dashboard calls it; None offline, where the server has not named it.
        url: Where it is shown; None offline.
        project: The project, if one was stated.
        entity: The user or team.
        mode: "online" or "offline".
        step: The rows of history it had.
        global_step: The optimiser step.
    """

    id: str | None
    name: str | None = None
    url: str | None = None
    project: str | None = None
    entity: str | None = None
    mode: str | None = None
    step: int = 0
    global_step: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> RunRecord:
        """Return the record that a file holds, without what this version does not know."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{"id": None, **{name: value for name, value in values.items() if name in known}})

    def after_checkpoint(self) -> RunRecord:
        """Return the record to go on with from a checkpoint, whose run may have gone on a while without it."""
        return dataclasses.replace(self, step=self.step + _GAP)


def read_run(folder: str | Path) -> RunRecord | None:
    """Return which run a folder's model was trained in, if it says."""
    path = Path(folder) / RUN_FILE
    return RunRecord.of(json.loads(path.read_text("utf-8"))) if path.is_file() else None


def write_run(folder: str | Path, record: RunRecord | None) -> None:
    """Write into a model's folder which run it was trained in; what the folder said before is gone in any case."""
    path = Path(folder) / RUN_FILE
    if record is None or record.id is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(json.dumps(dataclasses.asdict(record), indent=2) + "\n", encoding="utf-8")
