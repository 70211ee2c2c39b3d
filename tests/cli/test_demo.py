from __future__ import annotations

import pytest

import easytx
from easytx.cli import demo


@pytest.mark.real
def test_the_demo_trains_prints_and_draws(tmp_path, monkeypatch, capsys):
    load = easytx.samples.load
    monkeypatch.setattr(easytx.samples, "load", lambda name: tuple(part.head(24) for part in load(name)))
    monkeypatch.setitem(demo.ARGS, "num_train_epochs", 1)
    demo.main(["--output-dir", str(tmp_path / "demo")])
    printed = capsys.readouterr().out
    assert "TF-IDF + logistic regression" in printed
    assert "wrong predictions, such as:" in printed
    for name in ("learning_curve.png", "confusion_matrix.png", "model.safetensors", "eval_results.txt"):
        assert (tmp_path / "demo" / name).stat().st_size > 0
        assert name in printed or not name.endswith(".png")
    assert easytx.load(tmp_path / "demo").labels is not None
