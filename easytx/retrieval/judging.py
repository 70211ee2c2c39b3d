"""What was found, as trackers show it."""

from __future__ import annotations

from easytx.data.prepared import TaskData
from easytx.retrieval.results import Found
from easytx.training.judged import Judged


def judged(found: Found, data: TaskData) -> Judged:
    """Return one line per query; its loss is minus the logarithm of its passage's share of the probability."""
    frame = data.frame[["query_text"]].assign(
        truth=data.frame["gold_passage"].tolist(),
        prediction=[texts[0] for texts in found.texts()],
        probability=found.known().chances,
        loss=found.known().losses,
    )
    return Judged(frame, found.relevance()[:, 0] == 0)
