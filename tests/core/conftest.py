"""A tiny pretrained model in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from easytx.testing import tiny_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare encoder, as a checkpoint that was only pretrained; not to be written to."""
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))
