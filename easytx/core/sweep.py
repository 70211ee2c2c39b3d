"""Search for the best hyperparameters: `easytx.sweep`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easytx.core.registry import load
from easytx.core.sweep_agent import has_account, run_agent
from easytx.core.sweep_plan import Plan, read_sweep
from easytx.core.sweep_study import run_study
from easytx.core.sweep_trial import Trial, Trials
from easytx.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

    from easytx.core.base_model import BaseModel


class SweepResult:
    """What `sweep` returns: a table of trials, and the best of them.

    Attributes:
        trials: One per trial, in the order of their numbers.
        metric: The score they are compared by.
        best_trial: The finished trial with the best score.
    """

    def __init__(self, trials: Sequence[Trial], plan: Plan) -> None:
        self.trials = tuple(trials)
        self.metric = plan.metric
        self._plan = plan

    def __repr__(self) -> str:
        finished = [trial for trial in self.trials if trial.state == "finished"]
        best = f", best {self.metric} {self.best_score:.4g} with {self.best_params}" if finished else ""
        return f"<SweepResult: {len(self.trials)} trials, {len(finished)} finished{best}>"

    def to_frame(self) -> pd.DataFrame:
        """Return one row per trial: trial, state, each parameter, the metric, seconds, error."""
        import pandas as pd

        names = ["trial", "state", *self._plan.parameters, self.metric, "seconds", "error"]
        rows = [
            [
                trial.number,
                trial.state,
                *(trial.params.get(name) for name in self._plan.parameters),
                trial.score,
                trial.seconds,
                trial.error,
            ]
            for trial in self.trials
        ]
        return pd.DataFrame(rows, columns=names).astype({self.metric: float})

    @property
    def best_trial(self) -> Trial:
        """The finished trial with the best score, the first of equals.

        Raises:
            ArgumentError: If none has finished.
        """
        return self._best()[0]

    @property
    def best_params(self) -> dict[str, Any]:
        """The values of the best trial."""
        return dict(self._best()[0].params)

    @property
    def best_score(self) -> float:
        """The score of the best trial."""
        return self._best()[1]

    def _best(self) -> tuple[Trial, float]:
        scored = [
            (trial, trial.score) for trial in self.trials if trial.state == "finished" and trial.score is not None
        ]
        if not scored:
            error = next((f" The first failed with {trial.error}" for trial in self.trials if trial.error), "")
            raise ArgumentError(f"None of the {len(self.trials)} trials has finished.{error}")
        best = scored[0]
        for other in scored[1:]:
            if self._plan.is_better(other[1], than=best[1]):
                best = other
        return best

    def best_model(self, **kwargs: Any) -> Any:
        """Return the model of the best trial, as it was saved.

        Args:
            **kwargs: For `easytx.load`.

        Raises:
            ArgumentError: If trials were not saved.
        """
        folder = self.best_trial.folder
        if folder is None:
            raise ArgumentError("With no_save no trial leaves a model. Train one with result.best_params.")
        return load(folder, **kwargs)


def sweep(
    make_model: Callable[[dict[str, Any]], BaseModel],
    train_df: Any,
    eval_df: Any,
    sweep_config: Mapping[str, Any],
    *,
    count: int | None = None,
    study: str | Path | None = None,
    project: str | None = None,
    entity: str | None = None,
    seed: int | None = None,
    **kwargs: Any,
) -> SweepResult:
    """Train models with different hyperparameters, and compare them.

    It is a sweep of Weights & Biases where there is an account and no `study` is given, and otherwise one on this
    machine with Optuna. A trial that fails is noted and passed over; Ctrl+C ends the sweep with the table so far.

    Args:
        make_model: Gets the values of a trial as a dict, and returns a new model. Those that are arguments of the
            model are set on it afterwards, so that `make_model` needs only to look at the others.
        train_df: The rows to train on, as for `train_model`.
        eval_df: The rows to compare trials on.
        sweep_config: A sweep configuration of Weights & Biases: method, metric, parameters, early_terminate.
        count: How many trials; a grid needs none.
        study: A SQLite file that remembers the trials. The same call goes on where an earlier one has ended.
        project: The project of Weights & Biases.
        entity: Its owner.
        seed: What values are drawn with, and what models without a `manual_seed` are trained with.
        **kwargs: Custom metrics and column names, as for `train_model`.

    Raises:
        ArgumentError: If the configuration cannot be read, or what would fail in each trial.
        OutputDirError: If the folder of a trial is not empty and `overwrite_output_dir` is not set.
        MissingExtraError: If Optuna is needed and not installed.
    """
    plan = read_sweep(sweep_config)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ArgumentError("A sweep runs in one process: start it without torchrun.")
    limits = [limit for limit in (count, plan.run_cap) if limit is not None]
    number = min(limits) if limits else None
    if number is None and plan.method != "grid":
        raise ArgumentError(f"A sweep with method '{plan.method}' has no end of its own: give count=.")
    if number is not None and number < 1:
        raise ArgumentError(f"count must be 1 or more, but is {number}.")
    trials = Trials(make_model, train_df, eval_df, plan, kwargs, seed)
    found = None
    if study is None and has_account():
        project, entity = project or sweep_config.get("project"), entity or sweep_config.get("entity")
        found = run_agent(trials, sweep_config, count=number, project=project, entity=entity)
    if found is None:
        found = run_study(trials, sweep_config, count=number, path=study, seed=seed)
    return SweepResult(found, plan)
