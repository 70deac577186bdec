"""Makes a training script's settings from the command line and a TOML file."""

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..checkpoint.units import parse_bytes
from .errors import ConfigError
from .models import BUILDERS, DEFAULTS
from .optimizers import DECAYS, OPTIMIZERS


def parse_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The settings, one attribute a flag. Flags go over the ``--config`` file, and that over the model's
    defaults.

    Exits with status 2 and a text for bad arguments, as ``argparse`` does; raises ``ConfigError`` for a bad
    file.
    """
    parser = _parser()
    given = parser.parse_args(argv)
    if given.config is not None:
        from_file = parser.parse_args(_file_arguments(given.config, parser))
        for name, value in vars(from_file).items():
            if getattr(given, name) is None:
                setattr(given, name, value)
    for name, value in _defaults(given.model or "transformer").items():
        if getattr(given, name) is None:
            setattr(given, name, value)
    if given.warmup is None:
        given.warmup = given.steps // 20
    if given.warmup > given.steps:
        parser.error(f"argument --warmup: {given.warmup} steps are more than the {given.steps} of the run")
    if given.out is None:
        given.out = str(Path("runs") / given.model)
    return given


def resolve_budget(text: str, unbudgeted_bytes: int) -> int:
    """Bytes of a budget: "40%" of ``unbudgeted_bytes``, or a size such as "64MiB". Raises ``ValueError``."""
    if text.endswith("%"):
        try:
            share = float(text[:-1]) / 100.0
        except ValueError:
            share = 0.0
        if not 0.0 < share <= 1.0:
            raise ValueError(f"the memory budget {text!r} is not a percentage above 0% and up to 100%")
        return int(unbudgeted_bytes * share)
    return parse_bytes(text)


def _defaults(model: str) -> dict[str, Any]:
    common = {
        "model": model,
        "workers": 2,
        "threads": 1,
        "oversubscribe": False,
        "microbatch": "auto",
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "clip": 1.0,
        "seed": 0,
        "data_limit": 8 * 2**20,
        "snapshot_every": 100,
        "validate_every": 50,
        "keep": 3,
        "decay": "cosine",
        "deadline": 300.0,
        "verbose": False,
    }
    return {**common, **DEFAULTS[model]}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="retape-train",
        description="Trains a model data-parallel on Ray workers, each inside a memory budget. Starts Ray on "
        "this machine unless a cluster is given.",
        epilog="Exit status: 0 finished, 1 failed, 2 bad arguments, 130 interrupted (a snapshot is written).",
    )
    known = _defaults("transformer")

    def add(group: Any, flag: str, text: str, **kind: Any) -> None:
        name = flag.removeprefix("--").replace("-", "_")
        own = {model: values[name] for model, values in DEFAULTS.items() if name in values}
        if own:
            shown = ", ".join(f"{value} for {model}" for model, value in own.items())
        else:
            shown = known.get(name, kind.get("metavar", "none"))
        # Defaults are filled in last, so that a flag can be told from one that was not given.
        group.add_argument(flag, default=None, help=f"{text} (default: {shown})".replace("%", "%%"), **kind)

    group = parser.add_argument_group("model and data")
    add(group, "--model", "what to train", choices=list(BUILDERS))
    add(group, "--layers", "layers of the model", type=_count, metavar="N")
    add(group, "--width", "width of a layer", type=_count, metavar="N")
    add(group, "--heads", "attention heads (transformer)", type=_count, metavar="N")
    add(group, "--context", "bytes that the transformer sees", type=_count, metavar="BYTES")
    group.add_argument(
        "--data",
        metavar="PATH",
        help="a file or folder of text (default: the source of Python's standard library)",
    )
    add(group, "--data-limit", "read at most this much text", type=_size, metavar="BYTES")

    group = parser.add_argument_group("training")
    add(group, "--steps", "updates of the parameters, a resumed part included", type=_count, metavar="N")
    add(group, "--global-batch", "examples of one step, over all workers", type=_count, metavar="N")
    add(group, "--optimizer", "update rule", choices=list(OPTIMIZERS))
    add(
        group,
        "--rate",
        "peak learning rate",
        type=_positive,
        metavar="R",
    )
    add(
        group,
        "--decay",
        "what follows the warm-up: half a cosine, stairs at 1/2 and 3/4 of the steps, or nothing",
        choices=list(DECAYS),
    )
    group.add_argument(
        "--warmup",
        default=None,
        type=_whole,
        metavar="N",
        help="steps that climb to the rate in a straight line (default: 5%% of the steps)",
    )
    add(group, "--weight-decay", "decoupled weight decay", type=_not_negative, metavar="X")
    add(group, "--clip", "bound on the gradient's global norm", type=_positive, metavar="X")
    add(group, "--seed", "seed of the parameters and the data order", type=int, metavar="N")

    group = parser.add_argument_group("memory and workers")
    add(
        group,
        "--memory-budget",
        'for one worker\'s gradients: a size ("64MiB"), or a percentage of what its share of a step would need',
        type=_budget,
        metavar="SIZE",
    )
    group.add_argument(
        "--microbatch",
        type=_microbatch,
        metavar="N",
        help="examples that a worker differentiates at a time (default: auto, what fits the budget)",
    )
    add(group, "--workers", "worker processes", type=_count, metavar="N")
    add(group, "--threads", "CPUs and BLAS threads of a worker", type=_count, metavar="N")
    group.add_argument(
        "--oversubscribe",
        action="store_true",
        default=None,
        help="allow more workers than this machine has CPUs",
    )
    group.add_argument("--address", metavar="ADDRESS", help="a running Ray cluster (default: RAY_ADDRESS, else start Ray)")
    add(group, "--deadline", "seconds that a worker waits for the others", type=_positive, metavar="SECONDS")

    group = parser.add_argument_group("files")
    group.add_argument("--out", metavar="FOLDER", help="output folder (default: runs/MODEL)")
    group.add_argument(
        "--resume",
        nargs="?",
        const=True,
        metavar="SNAPSHOT",
        help="go on from the newest snapshot in --out, or from this snapshot file or run folder",
    )
    group.add_argument(
        "--snapshots-at",
        metavar="FOLDER",
        help="another folder for the snapshots, or its URL in an object store (default: snapshots/ in --out)",
    )
    add(group, "--snapshot-every", "steps between snapshots", type=_count, metavar="N")
    add(group, "--validate-every", "steps between validations", type=_count, metavar="N")
    add(group, "--keep", "snapshots to keep", type=_count, metavar="N")
    group.add_argument(
        "--best",
        default=None,
        metavar="WHICH",
        help='also keep the best snapshot of those taken after a validation: "lowest val_loss", for example',
    )
    group.add_argument("--config", metavar="FILE", help="TOML file whose keys are these flags without the dashes")
    group.add_argument("--verbose", action="store_true", default=None, help="show tracebacks of errors")
    return parser


def _file_arguments(path: str, parser: argparse.ArgumentParser) -> list[str]:
    """The file's keys and values as command-line arguments."""
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the config file {path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the config file {path} is not TOML: {error}") from error
    known = sorted(set(vars(parser.parse_args([]))) - {"config"})
    unknown = [key for key in values if key.replace("-", "_") not in known]
    if unknown:
        raise ConfigError(f"{path} has unknown keys {', '.join(unknown)}; the known ones are {', '.join(known)}")
    arguments = []
    for key, value in values.items():
        flag = "--" + key.replace("_", "-")
        if isinstance(value, bool):
            arguments += [flag] if value else []
        elif isinstance(value, int | float | str):
            arguments.append(f"{flag}={value}")
        else:
            raise ConfigError(f"{path}: {key} is a {type(value).__name__}; it must be a number, a text or true/false")
    return arguments


def _count(text: str) -> int:
    value = int(text) if text.strip().lstrip("+-").isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return value


def _whole(text: str) -> int:
    return 0 if text.strip() == "0" else _count(text)


def _positive(text: str) -> float:
    value = _number(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _not_negative(text: str) -> float:
    value = _number(text)
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _microbatch(text: str) -> int | str:
    return text if text == "auto" else _count(text)


def _size(text: str) -> int:
    try:
        return parse_bytes(int(text) if text.isdigit() else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _budget(text: str) -> str:
    try:
        resolve_budget(text, 1 << 62)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
