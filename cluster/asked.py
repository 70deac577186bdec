"""Makes the job of a run from what `train` is asked for, or the error for what of it cannot work, before anything starts."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.trees import flatten_with_paths
from .checking import budget, function, nearest, real, shown
from .data import as_source
from .engine import payload_size
from .errors import ConfigError, DataError, RunError
from .exports import check_exports
from .job import Job, TrainConfig
from .optimizers import OPTIMIZERS, Optimizer, Rate, constant, rate_at
from .tables import UsedRows, check_by_rows

# The parts of a job that travel to the workers and are the user's own.
_SENT = ("loss", "init", "data", "optimizer", "rate", "validation", "evaluate", "used_rows")
# What the functions are called with that stay with the driver.
_HANDED = {"on_row": "row", "on_event": "sentence", "resize": "step", "conclude": "result"}
# So many steps of a schedule are looked at before the run, evenly, its first and its last among them.
_RATES = 1000


def asked_job(
    *,
    loss: Callable[[Any, Any], Any],
    init: Callable[[int], Any],
    data: Any,
    optimizer: Optimizer,
    rate: float | Callable[[int], float],
    out: str | Path,
    memory_budget: int | str | None,
    validation: Any,
    evaluate: Callable[[Any, Any], dict[str, float]] | None,
    used_rows: UsedRows | None,
    **numbers: Any,
) -> Job:
    """The job of :func:`~retape.cluster.train`'s arguments; ``numbers`` are those of :class:`TrainConfig`.

    ``init`` is called once. Raises ``ConfigError`` and ``DataError``, with the argument's name.
    """
    config = TrainConfig(**numbers, memory_budget=None if memory_budget is None else budget(memory_budget))
    function("loss", loss, "params, batch")
    function("init", init, "seed")
    _check_optimizer(optimizer)
    _check_evaluation(config, validation, evaluate, numbers)
    if config.shard_optimizer and optimizer.update_pieces is None:
        raise ConfigError(
            f"shard_optimizer needs an optimizer with update_pieces, which {optimizer.name!r} does not have: see "
            "retape.cluster.optimizers.Optimizer, or take one of retape's own"
        )
    if used_rows is not None:
        function("used_rows", used_rows, "batch")
        check_by_rows(optimizer, config)
    if not isinstance(out, str | Path) or out == "" or "\0" in str(out):
        raise ConfigError(f"out is {shown(out)}; it must be the path of a folder")
    source = as_source(data)
    if len(source) < config.global_batch:
        raise DataError(
            f"one step takes {config.global_batch} examples and the data holds {len(source)}; lower the global batch"
        )
    job = Job(
        loss=loss,
        init=init,
        data=source,
        optimizer=optimizer,
        rate=_rate(rate, config.steps),
        config=config,
        out=Path(out).absolute(),
        validation=as_source(validation, what="the validation data") if validation is not None else None,
        evaluate=evaluate,
        used_rows=used_rows,
    )
    _check_parameters(init, config.seed)
    return job


def check_rest(*, resume: Any, snapshots_at: Any, metrics_to: Any, **handed: Any) -> None:
    """Raises ``ConfigError`` for what else cannot work; ``handed`` are functions that the driver calls, or None."""
    for name, called in handed.items():
        if called is not None:
            function(name, called, _HANDED[name])
    check_exports(metrics_to)
    if not isinstance(resume, bool | str | Path | None):
        raise ConfigError(f'resume is {shown(resume)}; it must be True, False, "auto", or the path of a snapshot or a folder')
    if not isinstance(snapshots_at, str | Path | None):
        raise ConfigError(f"snapshots_at is {shown(snapshots_at)}; it must be the path of a folder, or a URL")


def check_names(asked: Callable[..., Any], numbers: Mapping[str, Any]) -> None:
    """Raises ``ConfigError`` for names that neither the function ``asked`` nor ``TrainConfig`` has, with the nearest."""
    own = [name for name, kind in inspect.signature(asked).parameters.items() if kind.kind is not kind.VAR_KEYWORD]
    known = sorted({*own, *(field.name for field in fields(TrainConfig))})
    unknown = [f"there is no setting {name!r}: {nearest(name, known)}" for name in numbers if name not in known]
    if unknown:
        raise ConfigError("; ".join(unknown))


def sent_bytes(job: Job) -> int:
    """The bytes that travel to each worker. Raises ``ConfigError`` that names the part which cannot be pickled."""
    try:
        return payload_size(job)
    except Exception as error:
        for name in _SENT:
            try:
                payload_size(getattr(job, name))
            except Exception as cause:
                raise ConfigError(
                    f"{name} cannot be sent to the workers ({type(cause).__name__}: {cause}): what it uses must be something "
                    "that can be pickled; make locks, open files and connections inside of it, when it is called"
                ) from cause
        raise ConfigError(f"the job cannot be sent to the workers: {type(error).__name__}: {error}") from error


def _rate(rate: float | Rate, steps: int) -> Rate:
    if isinstance(rate, Real) or not callable(rate):
        kind = "finite and above 0, for example 1e-3, or a function of the step"
        return constant(real("rate", rate, kind, lambda number: 0 < number < np.inf))
    for step in sorted({*np.linspace(0, steps - 1, min(steps, _RATES), dtype=int).tolist()}):
        try:
            rate_at(rate, step)
        except ValueError as error:
            raise ConfigError(str(error)) from error.__cause__
    return rate


def _check_optimizer(optimizer: Any) -> None:
    if isinstance(optimizer, Optimizer):
        return
    name = optimizer if isinstance(optimizer, str) else getattr(optimizer, "__name__", None)
    known = f"{name}()" if name in OPTIMIZERS else "an Optimizer, such as adamw()"
    what = f"the function {name}" if callable(optimizer) and name else shown(optimizer)
    raise ConfigError(f"optimizer is {what}; it must be {known}: what a call makes, with the learning rate in rate")


def _check_evaluation(config: TrainConfig, validation: Any, evaluate: Any, given: Mapping[str, Any]) -> None:
    """Raises ``ConfigError`` where one of validation data and what to do with it, and when, is there without the other."""
    missing = [name for name, value in (("validation", validation), ("evaluate", evaluate)) if value is None]
    if evaluate is not None:
        function("evaluate", evaluate, "params, batch")
    if missing and config.best is not None:
        raise ConfigError(f"the best snapshot is the one with the {config.best}: that takes validation data and evaluate")
    if len(missing) == 1:
        raise ConfigError(f"validation data and evaluate(params, batch) go together, and {missing[0]} is not given")
    when = [name for name in ("validate_every", "validate_examples") if name in given]
    if missing and when:
        raise ConfigError(f"{when[0]} is given, and no validation data: give validation and evaluate, or leave it out")


def _check_parameters(init: Callable[[int], Any], seed: int) -> None:
    """Raises ``ConfigError`` for parameters that cannot be trained."""
    try:
        paths, leaves, _ = flatten_with_paths(init(seed))
    except RunError:
        raise
    except Exception as error:
        raise ConfigError(f"init({seed}) failed: {type(error).__name__}: {error}") from error
    if not leaves:
        raise ConfigError("init made no parameters: it must return arrays, in any nesting of dicts, lists and tuples")
    for path, leaf in zip(paths, leaves, strict=True):
        kind = np.asarray(leaf).dtype
        if kind not in (np.float32, np.float64):
            raise ConfigError(
                f"init made params{path} of {kind}; parameters are float32 or float64: convert it with .astype(np.float32), "
                "and leave out what is not trained"
            )
        if not np.isfinite(leaf).all():
            raise ConfigError(f"init made params{path} with values that are NaN or infinite: no step could train them")
