"""Kept features are found again by what they were made from, and by nothing less."""

from __future__ import annotations

import importlib
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from tokenizers import normalizers

from easytx.data.cache import fingerprint, kept
from easytx.data.tokenise import encode
from easytx.testing.tokenizers import tiny_tokenizer

TEXTS = ["good film", "bad film"]


def _dataset() -> Dataset:
    return encode(tiny_tokenizer(), TEXTS, max_length=8)


def test_the_same_content_has_the_same_name() -> None:
    assert fingerprint(tiny_tokenizer(), TEXTS, 8, None) == fingerprint(tiny_tokenizer(), tuple(TEXTS), 8, None)
    assert len(fingerprint(tiny_tokenizer(), TEXTS)) == 32


def test_having_been_used_does_not_change_a_tokenizer() -> None:
    tokenizer = tiny_tokenizer()
    before = fingerprint(tokenizer, TEXTS, 8)
    encode(tokenizer, TEXTS, max_length=8)
    assert fingerprint(tokenizer, TEXTS, 8) == before
    tokenizer(TEXTS, padding="max_length", max_length=5, truncation=True)
    assert fingerprint(tokenizer, TEXTS, 8) == before


def test_everything_that_matters_changes_the_name() -> None:
    tokenizer = tiny_tokenizer()
    cased = tiny_tokenizer()
    cased.backend_tokenizer.normalizer = normalizers.Lowercase()
    added = tiny_tokenizer()
    added.add_tokens(["<new>"])
    without_types, from_the_left = tiny_tokenizer(), tiny_tokenizer()
    without_types.model_input_names = ["input_ids", "attention_mask"]
    from_the_left.truncation_side = "left"
    names = [
        fingerprint(without_types, TEXTS, (), 8, None),
        fingerprint(from_the_left, TEXTS, (), 8, None),
        fingerprint(tokenizer, TEXTS, (), 8, None),
        fingerprint(tokenizer, ["good film", "bad filn"], (), 8, None),
        fingerprint(tokenizer, TEXTS[::-1], (), 8, None),
        fingerprint(tokenizer, ["good filmb", "ad film"], (), 8, None),
        fingerprint(tokenizer, TEXTS[:1], TEXTS[1:], 8, None),
        fingerprint(tokenizer, TEXTS, (), 9, None),
        fingerprint(tokenizer, TEXTS, (), 8, 2),
        fingerprint(tiny_tokenizer("roberta"), TEXTS, (), 8, None),
        fingerprint(cased, TEXTS, (), 8, None),
        fingerprint(added, TEXTS, (), 8, None),
    ]
    assert len(set(names)) == len(names)


def test_any_text_has_a_name() -> None:
    assert fingerprint(tiny_tokenizer(), ["\udc80", "\0", "ü"]) != fingerprint(tiny_tokenizer(), ["", "\0", "ü"])


def test_features_are_made_once(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> Dataset:
        made.append(1)
        return _dataset()

    first, second = (kept(tmp_path / "cache", "eval-abc", make) for _ in range(2))
    assert made == [1]
    assert second.to_dict() == first.to_dict() == _dataset().to_dict()
    kept(tmp_path / "cache", "eval-def", make)
    assert made == [1, 1]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["eval-abc", "eval-def"]


def test_keeping_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(multiprocessing.Process, "start", refuse)
    kept(tmp_path, "eval-abc", _dataset)


def test_an_interrupted_write_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Dataset, path: str, **_: Any) -> None:
        (Path(path) / "data-00000-of-00001.arrow").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "save_to_disk", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kept(tmp_path, "eval-abc", _dataset)
    assert list(tmp_path.iterdir()) == []
    assert kept(tmp_path, "eval-abc", _dataset).to_dict() == _dataset().to_dict()
    assert kept(tmp_path, "eval-abc", pytest.fail).to_dict() == _dataset().to_dict()


def test_of_two_processes_the_first_one_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = Dataset.save_to_disk

    def while_another_finishes(self: Dataset, path: str, **options: Any) -> None:
        save(self, path, **options)
        save(self, str(tmp_path / "eval-abc"), **options)
        # Seen too early to have been there.
        monkeypatch.setattr(Path, "exists", lambda _path: False)

    monkeypatch.setattr(Dataset, "save_to_disk", while_another_finishes)
    assert kept(tmp_path, "eval-abc", _dataset).to_dict() == _dataset().to_dict()
    assert [path.name for path in tmp_path.iterdir()] == ["eval-abc"]


def test_a_folder_of_that_name_without_features_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "eval-abc").mkdir()
    (tmp_path / "eval-abc" / "mine.txt").write_text("x")
    assert kept(tmp_path, "eval-abc", _dataset).to_dict() == _dataset().to_dict()
    assert [path.name for path in (tmp_path / "eval-abc").iterdir()] == ["mine.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["eval-abc"]


def test_keeping_shows_no_bar_and_leaves_those_of_datasets_as_they_were(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = importlib.import_module("datasets.utils.tqdm")
    monkeypatch.setattr(bars, "HF_DATASETS_DISABLE_PROGRESS_BARS", None)
    bars.enable_progress_bars()
    try:
        kept(tmp_path / "cache", "eval-abc", _dataset)
        assert not bars.are_progress_bars_disabled()
    finally:
        bars.disable_progress_bars()
    assert capfd.readouterr() == ("", "")
