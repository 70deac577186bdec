"""Makes a trained model, its files and its printed figures from the command line's settings."""

import argparse
import json
import math
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from ..checkpoint.errors import MemoryBudgetError
from ..checkpoint.units import format_bytes
from ..runtime.trees import flatten
from .ending import RESULT_NAME, status_of
from .errors import ConfigError, RunError
from .job import TrainConfig
from .metrics import METRICS_NAME, read_rows
from .models import Model, ModelOptions, build
from .optimizers import DECAYS, OPTIMIZERS, Optimizer, warmup
from .options import parse_options, settings_text
from .pictures import draw_loss
from .progress import ProgressLine
from .report import REPORT_NAME, show_report, write_report
from .run import TrainResult, train
from .step_plan import StepPlan, plan_step, snapshot_to_resume
from .watching import show_status

SAMPLE_NAME, _SAMPLE_LINES = "sample.txt", 12
FAILED, BAD_ARGUMENTS = 1, 2
# The exit status by how a run ended; that of a process which a signal ends is 128 and the signal's number.
ENDINGS = {"finished": 0, "stopped early": 0, "interrupted": 130, "preempted": 143}


# The fields of TrainConfig that have another name as a flag.
_FLAGS = {"clip_norm": "clip", "deadline_seconds": "deadline", "silence_seconds": "silence", "ahead_bytes": "ahead"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the script with ``argv`` (default: the process's) and returns its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    verbose = "--verbose" in words
    try:
        status = _act(words)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as error:
        if words[:1] == ["status"]:
            return ENDINGS["interrupted"]
        print(f"retape-train: {status_of(error)} before a step could be finished", file=sys.stderr)
        return ENDINGS[status_of(error)]
    except BrokenPipeError as error:
        _let_go(error)
        return FAILED
    except Exception as error:
        if verbose:
            traceback.print_exc()
        known = isinstance(error, RunError | MemoryBudgetError | ValueError)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        hint = "" if known or verbose else " (--verbose shows where)"
        print(f"retape-train: {text}{hint}", file=sys.stderr)
        return BAD_ARGUMENTS if isinstance(error, ConfigError) else FAILED


def _act(words: Sequence[str]) -> int:
    if words[:1] == ["status"]:
        return show_status(words[1:])
    if words[:1] == ["report"]:
        return show_report(words[1:])
    return _run(parse_options(words))


def _run(options: argparse.Namespace) -> int:
    if options.show_config:
        print(settings_text(options), end="")
        return 0
    numbers = _numbers(options)
    config = TrainConfig(**numbers)  # before the data is read
    sizes = {name: value for name in ("layers", "width", "heads", "context") if (value := getattr(options, name)) is not None}
    model = build(options.model, ModelOptions(**sizes, data=options.data, data_limit_bytes=options.data_limit))
    print(f"{model.name}: {options.workers} workers, {options.steps} steps of {options.global_batch} examples")
    for name, fact in model.facts.items():
        print(f"{name}: {fact}")
    step_plan = _plan_step(options, model, config)
    with ProgressLine(steps=options.steps, unit=model.unit, goal=model.goal[0]) as progress:
        result = train(
            loss=model.loss,
            init=model.init,
            data=model.train,
            optimizer=_optimizer(options),
            rate=warmup(DECAYS[options.decay](options.rate, options.steps - options.warmup), steps=options.warmup),
            memory_budget=step_plan.budget_bytes,
            spares=options.spares,
            threads=options.threads,
            out=options.out,
            resume=options.resume,
            snapshots_at=options.snapshots_at,
            validation=model.validation,
            evaluate=model.evaluate,
            address=options.address,
            oversubscribe=options.oversubscribe,
            units=model.units,
            metrics_to=[name.strip() for name in options.metrics_to.split(",")] if options.metrics_to else (),
            on_row=progress.row,
            on_event=progress.say,
            conclude=partial(_conclude, options, model, step_plan),
            used_rows=model.used_rows,
            **numbers,
        )
    try:
        write_report(result.out)
        _print_ending(options, result)
    except OSError as error:
        _let_go(error)
    return ENDINGS[result.status]


def _numbers(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of ``TrainConfig`` that flags set, but for the memory budget, which may follow from the model's plan."""
    names = {field.name for field in fields(TrainConfig)} - {"units", "memory_budget"}
    numbers = {name: getattr(options, _FLAGS.get(name, name)) for name in names}
    if numbers["loss_limit"] == "none":
        numbers["loss_limit"] = math.inf
    if numbers["clip_norm"] == "none":
        numbers["clip_norm"] = None
    return numbers


def _plan_step(options: argparse.Namespace, model: Model, config: TrainConfig) -> StepPlan:
    """Makes the plan of a worker's gradient call and prints it."""
    budget = options.memory_budget
    before = snapshot_to_resume(options.out, options.snapshots_at, options.resume) if budget == "auto" else None
    made = plan_step(model, config, _optimizer(options), budget, spares=options.spares, snapshot_before=before)
    print(
        f"memory budget: {format_bytes(made.budget_bytes)} for one worker's gradients, "
        f"{made.budget_bytes / made.needed_bytes:.0%} of the {format_bytes(made.needed_bytes)} that the {config.shard_batch} "
        "examples of a shard need without one"
    )
    print(f"plan of one microbatch of {made.examples}:\n{made.microbatch}")
    return made


def _optimizer(options: argparse.Namespace) -> Optimizer:
    return OPTIMIZERS[options.optimizer](weight_decay=options.weight_decay)


def _conclude(options: argparse.Namespace, model: Model, step_plan: StepPlan, result: TrainResult) -> dict[str, Any]:
    """Draws the pictures, writes the sample, and returns what the result file holds of the model besides."""
    out = result.out
    rows = read_rows(out / METRICS_NAME)
    name, sense, bar, meaning = model.goal
    try:
        step_plan.microbatch.plot(out / "memory.png")
        draw_loss(out / "loss.png", rows, goal=model.goal)
        (out / SAMPLE_NAME).write_text(model.sample(result.params, options.seed), encoding="utf-8")
    except OSError as error:
        _let_go(error)
    figures: dict[str, Any] = {
        "model": model.name,
        "goal": f"{name} {sense} {bar:.4f}, the {meaning}",
        "goal_value": bar,
        "unbudgeted_bytes": step_plan.needed_bytes,
    }
    travelled = [row["gradient_bytes"] for row in rows if "gradient_bytes" in row]
    if model.used_rows is not None and travelled:
        figures["gradient_bytes"] = sum(travelled) // len(travelled)
        figures["whole_gradient_bytes"] = sum(leaf.nbytes for leaf in flatten(result.params)[0])
    reached = [row[name] for row in rows if name in row]
    if reached:
        figures[name] = reached[-1]
        figures["goal_reached"] = reached[-1] < bar if sense == "<" else reached[-1] > bar
    return figures


def _let_go(error: OSError) -> None:
    """Says that something for people to read could not be written, for which a run does not fail; writes no more to a closed
    output."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    print(f"retape-train: what is there to read of this run is not complete: {error}", file=sys.stderr)


def _print_ending(options: argparse.Namespace, result: TrainResult) -> None:
    figures = json.loads((result.out / RESULT_NAME).read_text(encoding="utf-8"))
    if result.status in ("interrupted", "preempted"):
        print(f"{result.status} after step {result.step}; go on with --resume --out {options.out}")
    else:
        print(f"{result.status} after step {result.step} in {result.wall_seconds:.0f} s")
    if "goal_reached" in figures:
        print(f"{figures['goal']}: {'reached' if figures['goal_reached'] else 'not reached'}")
    if figures["peak_bytes"] is not None:
        print(
            f"memory of one worker's gradients: peak {format_bytes(figures['peak_bytes'])} <= projected "
            f"{format_bytes(figures['projected_bytes'])} <= budget {format_bytes(figures['budget_bytes'])}; "
            f"without a budget {format_bytes(figures['unbudgeted_bytes'])}"
        )
    if "gradient_bytes" in figures:
        print(
            f"gradients by rows: {format_bytes(figures['gradient_bytes'])} of a step travel; whole tables would be "
            f"{format_bytes(figures['whole_gradient_bytes'])}"
        )
    lines = (result.out / SAMPLE_NAME).read_text(encoding="utf-8").splitlines()
    print(
        "\n".join(
            ["", *lines[:_SAMPLE_LINES], *([f"... ({SAMPLE_NAME} has all of it)"] if lines[_SAMPLE_LINES:] else []), ""]
        )
    )
    print(
        f"files in {result.out}: metrics.jsonl, loss.png, memory.png, {SAMPLE_NAME}, result.json, {REPORT_NAME}, snapshots/",
        flush=True,
    )
