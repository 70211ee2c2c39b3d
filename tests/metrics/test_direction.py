from __future__ import annotations

import pytest

from easytx.metrics.direction import lower_is_better


@pytest.mark.parametrize("name", ["eval_loss", "hamming_loss", "generator_loss", "perplexity", "mse", "rmse", "mae"])
def test_losses_and_errors_are_better_when_lower(name):
    assert lower_is_better(name)


@pytest.mark.parametrize(
    "name", ["accuracy", "mcc", "f1_macro", "r2", "pearson", "correct", "hits@1", "bleu", "ndcg@10"]
)
def test_other_scores_are_better_when_higher(name):
    assert not lower_is_better(name)
