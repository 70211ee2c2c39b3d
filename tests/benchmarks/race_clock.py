"""Measuring side by side: strict alternation of short runs, and the ratios of each round."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Run:
    """One run of one contestant.

    Attributes:
        seconds: What it took.
        units: How much was done: rows, tokens, calls.
        further: Other durations of the same run, such as that of the whole call.
    """

    seconds: float
    units: float
    further: dict[str, float] = field(default_factory=dict)

    @property
    def speed(self) -> float:
        """Units per second."""
        return self.units / self.seconds


class SkippedError(Exception):
    """A contestant cannot run here; the message says why."""


class Clock:
    """What durations are measured with.

    On a machine that others use as well, the processor time of this process tells more than the wall clock, as long as
    all contestants compute in one thread.
    """

    now: Callable[[], float] = staticmethod(time.perf_counter)


@dataclass
class Lap:
    """A duration that is known when its block has been left."""

    seconds: float = 0.0


def _finish() -> None:
    """Wait for a GPU to do what it has been told, so that its work is timed with the block that asked for it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


@contextmanager
def lap() -> Iterator[Lap]:
    """Time a block."""
    found = Lap()
    _finish()
    started = Clock.now()
    try:
        yield found
    finally:
        _finish()
        found.seconds = Clock.now() - started


def alternate(
    contestants: Mapping[str, Callable[[], Run]], rounds: int, skipped: dict[str, str] | None = None
) -> dict[str, list[Run]]:
    """Run all contestants once a round, each round beginning with another; the first round only warms up.

    Args:
        contestants: Name -> one run.
        rounds: Rounds that count.
        skipped: Gets the names of those that raised `SkippedError`, with their reasons.
    """
    names = list(contestants)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for number in range(rounds + 1):
        turn = number % len(names) if names else 0
        for name in [*names[turn:], *names[:turn]]:
            if name not in runs:
                continue
            gc.collect()
            try:
                run = contestants[name]()
            except SkippedError as reason:
                del runs[name]
                if skipped is not None:
                    skipped[name] = str(reason)
                continue
            if number:
                runs[name].append(run)
    return runs


@dataclass(frozen=True)
class Ratio:
    """How many times faster: the median over the rounds, and the middle half of them."""

    median: float
    low: float
    high: float


def ratio(values: list[float], others: list[float]) -> Ratio:
    """Return value / other, round by round."""
    pairs = [value / other for value, other in zip(values, others, strict=True)]
    if len(pairs) == 1:
        return Ratio(pairs[0], pairs[0], pairs[0])
    low, middle, high = statistics.quantiles(pairs, n=4, method="inclusive")
    return Ratio(middle, low, high)


def median(runs: list[Run], what: Callable[[Run], float] = lambda run: run.speed) -> float:
    """Return the median of a number over runs."""
    return statistics.median(what(run) for run in runs)


@dataclass
class Row:
    """A line of the table.

    Attributes:
        part: Which part of the race.
        work: On which rows.
        ours: What of easytx is measured.
        peer: Against what.
        unit: Of both speeds.
        our_speed: Median.
        peer_speed: Median.
        ratio: Median, low and high of the rounds; of speeds, unless the unit is one of time.
        target: Such as ">= 5"; empty where none is set.
        scores: Ours and the peer's, where there are any.
        note: What else is to be known.
    """

    part: str
    work: str
    ours: str
    peer: str
    unit: str = ""
    our_speed: float | None = None
    peer_speed: float | None = None
    ratio: Ratio | None = None
    target: str = ""
    scores: tuple[float | None, float | None] = (None, None)
    note: str = ""

    def met(self) -> str:
        """Say whether the target is met."""
        if not self.target or self.ratio is None:
            return ""
        sign, bound = self.target.split()
        good = self.ratio.median >= float(bound) if sign == ">=" else self.ratio.median <= float(bound)
        return "yes" if good else "no"

    def record(self) -> dict[str, Any]:
        """Return the line as JSON has it."""
        found = dict(vars(self))
        return {**found, "ratio": None if self.ratio is None else vars(self.ratio), "met": self.met()}


def compared(
    runs: Mapping[str, list[Run]],
    ours: str,
    *,
    part: str,
    work: str,
    unit: str,
    targets: Mapping[str, str],
    what: Callable[[Run], float] = lambda run: run.speed,
    scores: Mapping[str, float] | None = None,
    notes: Mapping[str, str] | None = None,
) -> list[Row]:
    """Return one line per peer."""
    scores, notes = scores or {}, notes or {}
    mine = [what(run) for run in runs[ours]]
    return [
        Row(
            part, work, ours, name, unit, statistics.median(mine), median(found, what),
            ratio(mine, [what(run) for run in found]), targets.get(name, ""),
            (scores.get(ours), scores.get(name)), notes.get(name, ""),
        )
        for name, found in runs.items() if name != ours
    ]  # fmt: skip
