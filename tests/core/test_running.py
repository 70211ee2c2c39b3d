"""How many rows share a batch of an inference: what the user says, else what the device does best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import easytx
from easytx import ClassificationModel, RepresentationModel, RetrievalModel, T5Model
from easytx.testing import tiny_checkpoint

TEXTS = [f"row {number} of a short text" for number in range(20)]


def _rows_of_batches(model: Any, answer: str = "predict", *given: Any, **options: Any) -> list[int]:
    """Return how many rows each batch has, of which the network is asked while it answers."""
    batches: list[int] = []

    def count(_module: Any, _given: Any, inputs: dict[str, Any]) -> None:
        batches.append(len(inputs["input_ids"]))

    network = model.model
    part = getattr(network, "context_encoder", network)
    handle = part.register_forward_pre_hook(count, with_kwargs=True)
    getattr(model, answer)(*(given or (TEXTS,)), **options)
    handle.remove()
    return batches


def _model(folder: Any, **args: Any) -> ClassificationModel:
    return ClassificationModel("bert", folder, num_labels=2, use_cuda=False, args={"silent": True, **args})


def test_a_device_takes_as_many_rows_as_it_likes_where_nothing_is_said(checkpoint: Path) -> None:
    assert _rows_of_batches(_model(checkpoint)) == [20]


@pytest.mark.parametrize("batch", [3, 8, 16])
def test_a_batch_has_no_more_rows_than_were_asked_for(checkpoint: Path, batch: int) -> None:
    sizes = _rows_of_batches(_model(checkpoint, eval_batch_size=batch))
    assert sum(sizes) == 20
    assert max(sizes) == batch


def test_a_saved_folder_remembers_whether_its_batches_were_asked_for(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for args, expected in (({}, [20]), ({"eval_batch_size": 8}, [8, 8, 4])):
        folder = tmp_path / str(len(args))
        _model(checkpoint, **args).save_model(folder)
        assert _rows_of_batches(easytx.load(folder, use_cuda=False)) == expected
    monkeypatch.setitem(easytx.global_args, "eval_batch_size", 16)
    assert _rows_of_batches(_model(checkpoint)) == [16, 4]


def test_texts_are_written_for_no_more_rows_than_were_asked_for(tmp_path: Path) -> None:
    args = {"eval_batch_size": 8, "max_length": 3, "num_beams": 1, "silent": True, "use_multiprocessed_decoding": False}
    model = T5Model("t5", tiny_checkpoint(tmp_path / "t5", "t5"), use_cuda=False, args=args)
    sizes: list[int] = []
    encoder = model.model.get_encoder()
    encoder.register_forward_pre_hook(lambda _m, _g, inputs: sizes.append(len(inputs["input_ids"])), with_kwargs=True)
    model.predict(TEXTS)
    assert sizes == [8, 8, 4]


def test_vectors_come_in_batches_of_the_size_that_is_asked_for(checkpoint: Path) -> None:
    model = RepresentationModel("bert", checkpoint, use_cuda=False, args={"silent": True})
    assert _rows_of_batches(model, "encode_sentences") == [20]
    assert _rows_of_batches(model, "encode_sentences", TEXTS, "mean", 32) == [20]
    assert _rows_of_batches(model, "encode_sentences", TEXTS, "mean", 8) == [8, 8, 4]
    assert _rows_of_batches(model, "encode_sentences", TEXTS, "mean", batch_size=None) == [20]
    with pytest.raises(easytx.errors.ArgumentError) as refused:
        model.encode_sentences(TEXTS, "mean", batch_size=0)
    assert str(refused.value) == "batch_size must be at least 1, but is 0."


def test_passages_come_in_batches_of_the_size_that_is_asked_for(checkpoint: Path) -> None:
    numbers = []
    for args in ({}, {"embed_batch_size": 128}, {"embed_batch_size": 8}):
        passages = [f"{number}" for number in range(150)]
        made = RetrievalModel(
            "bert", checkpoint, use_cuda=False, prediction_passages=passages, args={"silent": True, **args}
        )
        numbers.append(max(_rows_of_batches(made, "predict", ["a query"])))
    assert numbers == [150, 128, 8]
