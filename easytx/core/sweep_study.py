"""A sweep on this machine: Optuna chooses the values, and a SQLite file remembers the trials."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easytx.core.sweep_plan import Hyperband, Plan
from easytx.core.sweep_trial import Trial, Trials
from easytx.errors import ArgumentError, MissingExtraError

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)


def run_study(
    trials: Trials, config: Mapping[str, Any], *, count: int | None, path: str | Path | None, seed: int | None
) -> list[Trial]:
    """Run trials until there are `count` of them, those of an earlier call included; return all.

    Args:
        trials: Runs one.
        config: The sweep dict, to compare with that of an earlier call.
        count: How many; None for all combinations of a grid.
        path: The SQLite file; None keeps the study in memory.
        seed: What the values are drawn with.

    Raises:
        ArgumentError: If the file holds another sweep.
        MissingExtraError: If Optuna is not installed.
    """
    with _study(trials.plan, config, path) as study:
        # A process that was killed could not say so. Its trial starts over with the same values.
        _give_up_running(study)
        try:
            while _goes_on(study, trials.plan, count):
                _run_next(study, trials, seed)
        except KeyboardInterrupt:
            logger.warning("The sweep was interrupted; its table ends here.")
            _give_up_running(study)
        return _finished(study)


def _run_next(study: optuna.Study, trials: Trials, seed: int | None) -> None:
    from optuna.trial import TrialState

    plan = trials.plan
    begun = _begun(study)
    if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        if plan.method == "grid":
            study.enqueue_trial(next(itertools.islice(plan.combinations(), begun, None)))
        # Were the sampler seeded only once, a sweep taken up again would draw the values of its first trials again.
        study.sampler = _sampler(plan, None if seed is None else random.Random(f"{seed} {begun}").getrandbits(32))
    asked = study.ask()
    params = {name: parameter.suggest(asked, name) for name, parameter in plan.parameters.items()}
    asked.set_user_attr("params", params)

    def report(score: float, evaluation: int) -> bool:
        asked.report(score, evaluation)
        return bool(asked.should_prune())

    trial = trials.run(asked.number, params, report=report if plan.hyperband is not None else None)
    for name in ("seconds", "error", "folder"):
        asked.set_user_attr(name, getattr(trial, name))
    if trial.state == "finished":
        study.tell(asked, trial.score)
    else:
        study.tell(asked, state=TrialState.PRUNED if trial.state == "pruned" else TrialState.FAIL)


def _goes_on(study: optuna.Study, plan: Plan, count: int | None) -> bool:
    from optuna.trial import TrialState

    known = study.get_trials(deepcopy=False)
    scores = [trial.value for trial in known if trial.state == TrialState.COMPLETE and trial.value is not None]
    if plan.target is not None and any(not plan.is_better(plan.target, score) for score in scores):
        return False
    done = sum(trial.state.is_finished() and "interrupted" not in trial.user_attrs for trial in known)
    limits = [limit for limit in (count, plan.size()) if limit is not None]
    return done < min(limits)


def _begun(study: optuna.Study) -> int:
    """Return how many trials there have been, one that was interrupted and its second start counted as one."""
    return sum("interrupted" not in trial.user_attrs for trial in study.get_trials(deepcopy=False))


def _give_up_running(study: optuna.Study) -> None:
    """Mark trials that were cut off as failed, and put their values at the head of the queue."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        storage, key = study._storage, trial._trial_id
        storage.set_trial_user_attr(key, "interrupted", True)
        storage.set_trial_user_attr(key, "error", "interrupted")
        study.enqueue_trial({**trial.system_attrs.get("fixed_params", {}), **trial.params})
        study.tell(trial.number, state=TrialState.FAIL)


def _finished(study: optuna.Study) -> list[Trial]:
    from optuna.trial import TrialState

    states = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    found = []
    for trial in study.get_trials(deepcopy=False, states=tuple(states)):
        notes = trial.user_attrs
        found.append(
            Trial(
                number=trial.number,
                params=notes.get("params", {}),
                state=states[trial.state],
                score=None if trial.state == TrialState.FAIL else trial.value,
                seconds=notes.get("seconds", 0.0),
                error=notes.get("error"),
                folder=notes.get("folder"),
            )
        )
    return found


@contextlib.contextmanager
def _study(plan: Plan, config: Mapping[str, Any], path: str | Path | None) -> Iterator[optuna.Study]:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError.of("optuna", "sweep", "A sweep without Weights & Biases") from error
    said = optuna.logging.get_verbosity()
    # It would announce on stderr what the table and our own log say.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage: Any = optuna.storages.InMemoryStorage()
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.RDBStorage(f"sqlite:///{Path(path).resolve()}")
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=plan.name,
            direction="minimize" if plan.minimize else "maximize",
            pruner=_pruner(plan.hyperband),
            load_if_exists=True,
        )
        _check_same(study, config, path)
        yield study
    finally:
        optuna.logging.set_verbosity(said)
        storage.remove_session()
        if path is not None:
            storage.engine.dispose()


def _check_same(study: optuna.Study, config: Mapping[str, Any], path: str | Path | None) -> None:
    searched = {name: config.get(name) for name in ("method", "metric", "parameters")}
    asked = json.loads(json.dumps(searched, sort_keys=True))
    if study.user_attrs.setdefault("sweep", asked) != asked:
        raise ArgumentError(
            f"'{path}' holds another sweep named '{study.study_name}', of other parameters, metric or method. "
            "Give another study=, or another name in sweep_config."
        )
    study.set_user_attr("sweep", asked)


def _sampler(plan: Plan, seed: int | None) -> optuna.samplers.BaseSampler:
    from optuna.samplers import RandomSampler, TPESampler

    return TPESampler(seed=seed) if plan.method == "bayes" else RandomSampler(seed=seed)


def _pruner(hyperband: Hyperband | None) -> optuna.pruners.BasePruner:
    from optuna.pruners import HyperbandPruner, NopPruner

    if hyperband is None:
        return NopPruner()
    return HyperbandPruner(
        min_resource=hyperband.min_iter,
        max_resource="auto" if hyperband.max_iter is None else hyperband.max_iter,
        reduction_factor=hyperband.eta,
    )
