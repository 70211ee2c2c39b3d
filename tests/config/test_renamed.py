"""Other spellings of the arguments are taken, and said."""

from __future__ import annotations

from typing import Any

import pytest

from easytx.config.fields import arg, arguments, names_of
from easytx.config.model_args import ModelArgs
from easytx.config.renamed import RENAMED

EXAMPLES = {
    "activation_checkpointing": (True, True),
    "early_stopping_threshold": (0.1, 0.1),
    "eval_steps": (5, 5),
    "greater_is_better": (True, False),
    "label_smoothing": (0.1, 0.1),
    "lazy_header_row": (False, 0),
    "logging_dir": ("runs", "runs"),
    "lr": (1e-3, 1e-3),
    "lr_scheduler_type": ("constant", "constant"),
    "max_length": (64, 64),
    "metric_for_best_model": ("mcc", "mcc"),
    "optim": ("adamw_torch", "adamw_torch"),
    "per_device_eval_batch_size": (32, 32),
    "per_device_train_batch_size": (16, 16),
    "seed": (3, 3),
}


@arguments
class Generating(ModelArgs):
    """A task that has a `max_length` of its own."""

    max_length: int = arg(default=20, help="Tokens to write.", low=1)


def test_every_other_spelling_stands_for_an_argument() -> None:
    assert set(EXAMPLES) == set(RENAMED)
    assert [ours for ours, _ in RENAMED.values() if ours not in names_of(ModelArgs)] == []
    assert set(RENAMED) & set(names_of(ModelArgs)) == set()


@pytest.mark.parametrize("theirs", EXAMPLES)
def test_another_spelling_is_taken_with_a_warning(theirs: str, warned: Any) -> None:
    given, kept = EXAMPLES[theirs]
    ours = RENAMED[theirs][0]
    message = f"The argument '{theirs}' is called '{ours}' here; it was taken as such."
    by_attribute, by_key = ModelArgs(), ModelArgs()
    by_constructor, said = warned(lambda: ModelArgs(**{theirs: given}))
    merged, said_merging = warned(lambda: ModelArgs().merged({theirs: given}))
    _, said_of_attribute = warned(lambda: setattr(by_attribute, theirs, given))
    _, said_of_key = warned(lambda: by_key.__setitem__(theirs, given))
    assert said == said_merging == said_of_attribute == said_of_key == [message]
    assert by_constructor == by_attribute == by_key == merged == ModelArgs(**{ours: kept})
    assert by_constructor.given() == merged.given() == by_key.given() == {ours: kept}


def test_a_name_that_a_class_has_itself_stays_as_it_is() -> None:
    args: Any = Generating(max_length=5)
    assert (args.max_length, args.max_seq_length) == (5, 128)
