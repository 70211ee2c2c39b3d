from __future__ import annotations

import warnings

import pandas as pd

from easytx.data.checks import warn_about_duplicates


def test_a_warning_points_at_the_line_outside_the_package():
    frame = pd.DataFrame({"text": ["a", "a"]})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_about_duplicates(frame, ["text"], name="train_df")
    assert [(warning.filename, warning.category) for warning in caught] == [(__file__, UserWarning)]
