"""Which networks read where on a page each word stands, and which classes can tell them."""

from __future__ import annotations

from typing import Any

from easytx.data.checks import with_article
from easytx.errors import CheckpointError


def check_places(config: Any, *, name: str, gives_boxes: bool) -> None:
    """Raise if a network reads places of words that it would not get, so that all words would lie on one spot.

    Args:
        config: Its configuration.
        name: What to call it in messages.
        gives_boxes: Whether it is given boxes in the form of LayoutLM.

    Raises:
        CheckpointError: Naming the classes and architectures that go together.
    """
    # BROS has boxes of its own form, and says so by another field.
    if hasattr(config, "dim_bbox") or (hasattr(config, "max_2d_position_embeddings") and not gives_boxes):
        raise CheckpointError(
            f"'{name}' is {with_article(config.model_type)} model, which reads where on a page each word stands. "
            "Places of words are read from the columns x0, y0, x1 and y1 by ClassificationModel, "
            "MultiLabelClassificationModel and NERModel, with models of the types layoutlm and lilt: take one of "
            "these, or a model that reads texts alone."
        )
