"""Makes a training script's settings from the command line and a TOML file."""

import argparse
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .arguments import bound, budget, count, microbatch, not_negative, positive, size, size_or_none, whole
from .checking import nearest
from .comm.net import WIRES
from .config_file import as_toml, file_arguments
from .errors import ConfigError
from .models import BUILDERS, DEFAULTS
from .optimizers import DECAYS, OPTIMIZERS

# Flags that say what to do with the settings, and are none themselves.
_ACTIONS = ("config", "show_config", "verbose")

_USAGE = """retape-train [OPTION ...]
       retape-train status [FOLDER] [--json] [--watch [SECONDS]]
       retape-train report FOLDER"""

_ENDINGS = """\
exit status:
  0    finished, or stopped early
  1    failed; result.json in the output folder names the error and the last good snapshot
  2    bad arguments
  130  interrupted by Ctrl-C, with a snapshot
  143  preempted by SIGTERM, with a snapshot
The same command with --resume auto goes on after every one of them, and after the loss of this process.
"""


def parse_options(argv: Sequence[str] | None = None) -> Namespace:
    """The settings, one attribute a flag. Flags go over the ``--config`` file, and that over the model's
    defaults.

    Exits with status 2 and a text for bad arguments, as ``argparse`` does; raises ``ConfigError`` for a bad
    file.
    """
    parser = _parser()
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(_unknown(unknown[0], vars(given)))
    if given.config is not None:
        for name, value in vars(_from_file(given.config)).items():
            if getattr(given, name) is None:
                setattr(given, name, value)
    defaults = _defaults(given.model or "transformer")
    for name in sorted({name for own in DEFAULTS.values() for name in own} - defaults.keys()):
        if getattr(given, name) is not None:
            having = ", ".join(model for model, own in DEFAULTS.items() if name in own)
            parser.error(f"argument --{name}: {defaults['model']} has no such setting, it is for {having}")
    for name, value in defaults.items():
        if getattr(given, name) is None:
            setattr(given, name, value)
    if given.warmup is None:
        given.warmup = given.steps // 20
    if given.warmup > given.steps:
        parser.error(f"argument --warmup: {given.warmup} steps are more than the {given.steps} of the run")
    if given.out is None:
        given.out = str(Path("runs") / given.model)
    return given


def settings_text(options: Namespace) -> str:
    """The settings as the text of a TOML file that ``--config`` takes; those that are not set are left out."""
    return as_toml({name: value for name, value in vars(options).items() if name not in _ACTIONS})


def _unknown(word: str, settings: Iterable[str]) -> str:
    name = word.partition("=")[0]
    if not name.startswith("--"):
        return f"{word!r} is no flag: see --help"
    return f"there is no flag {name}: {nearest(name, ['--' + each.replace('_', '-') for each in settings])}"


def _from_file(path: str) -> Namespace:
    parser = _parser(exit_on_error=False)
    arguments = file_arguments(path, sorted(set(vars(parser.parse_args([]))) - set(_ACTIONS)))
    try:
        return parser.parse_args(arguments)
    except argparse.ArgumentError as error:
        raise ConfigError(f"{path}: {str(error).removeprefix('argument --')}") from None


def _defaults(model: str) -> dict[str, Any]:
    common = {
        "model": model,
        "workers": 2,
        "spares": 0,
        "threads": 1,
        "oversubscribe": False,
        "microbatch": "auto",
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "clip": 1.0,
        "nonfinite": "stop",
        "loss_limit": "none",
        "wire": "float32",
        "shard_optimizer": False,
        "seed": 0,
        "data_limit": 8 * 2**20,
        "snapshot_every": 100,
        "validate_every": 50,
        "validate_examples": 256,
        "check_every": 25,
        "keep": 3,
        "min_delta": 0.0,
        "last_batch": "drop",
        "decay": "cosine",
        "deadline": 300.0,
        "silence": 2.5,
        "show_config": False,
        "verbose": False,
    }
    return {**common, **DEFAULTS[model]}


def _parser(*, exit_on_error: bool = True) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="retape-train",
        usage=_USAGE,
        description="Trains a model data-parallel on Ray workers, each inside a memory budget. Starts Ray on this machine "
        'unless a cluster is given. "retape-train status" tells how a run in a folder is doing, "retape-train report" '
        "draws it.",
        epilog=_ENDINGS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        exit_on_error=exit_on_error,
    )
    known = _defaults("transformer")

    def add(group: Any, flag: str, text: str, **kind: Any) -> None:
        name = flag.removeprefix("--").replace("-", "_")
        own = {model: values[name] for model, values in DEFAULTS.items() if name in values}
        if own:
            shown = ", ".join(f"{value} for {model}" for model, value in own.items())
        else:
            shown = known.get(name, "none")
        # Defaults are filled in last, so that a flag can be told from one that was not given.
        group.add_argument(flag, default=None, help=f"{text} (default: {shown})".replace("%", "%%"), **kind)

    def add_plain(group: Any, flag: str, text: str, **kind: Any) -> None:
        group.add_argument(flag, default=None, help=text, **kind)

    group = parser.add_argument_group("model and data")
    add(group, "--model", "what to train", choices=list(BUILDERS))
    add(group, "--layers", "layers of the model", type=count, metavar="N")
    add(group, "--width", "width of a layer; filters of the first one for convolution", type=count, metavar="N")
    add(group, "--heads", "attention heads", type=count, metavar="N")
    add(group, "--context", "bytes that the transformer sees; words on each side for cbow", type=count, metavar="BYTES")
    add_plain(group, "--data", "a file or folder of text (default: the source of Python's standard library)", metavar="PATH")
    add(group, "--data-limit", "read at most this much text", type=size, metavar="BYTES")

    group = parser.add_argument_group("training")
    add(group, "--steps", "updates of the parameters, a resumed part included", type=count, metavar="N")
    add(group, "--global-batch", "examples of one step, over all workers", type=count, metavar="N")
    add_plain(
        group,
        "--shards",
        "logical shards of a step: runs with the same number have the same bits for any number of workers up to it "
        "(default: 4, or as many as workers)",
        type=count,
        metavar="N",
    )
    add(group, "--optimizer", "update rule", choices=list(OPTIMIZERS))
    add(group, "--rate", "peak learning rate", type=positive, metavar="R")
    add(
        group,
        "--decay",
        "what follows the warm-up: half a cosine, stairs at 1/2 and 3/4 of the steps, or nothing",
        choices=list(DECAYS),
    )
    add_plain(
        group,
        "--warmup",
        "steps that climb to the rate in a straight line (default: 5%% of the steps)",
        type=whole,
        metavar="N",
    )
    add(group, "--weight-decay", "decoupled weight decay", type=not_negative, metavar="X")
    add(group, "--clip", 'bound on the gradient\'s global norm, or "none"', type=bound, metavar="X")
    add(group, "--seed", "seed of the parameters and the data order", type=whole, metavar="N")
    add(group, "--validate-every", "steps between validations", type=count, metavar="N")
    add(group, "--validate-examples", "examples of a validation before the last, which takes all", type=count, metavar="N")

    group = parser.add_argument_group("memory and workers")
    add(
        group,
        "--memory-budget",
        'for one worker\'s gradients: a size ("64MiB"), a percentage of what its share of a step would need, or auto: a fair '
        "share of what this host has free",
        type=budget,
        metavar="SIZE",
    )
    add(
        group,
        "--microbatch",
        "examples that a worker differentiates at a time; auto is what fits the budget",
        type=microbatch,
        metavar="N",
    )
    add(group, "--workers", "worker processes", type=count, metavar="N")
    add(group, "--spares", "further workers that hold CPUs and wait to replace a lost one", type=whole, metavar="N")
    add(group, "--threads", "CPUs and BLAS threads of a worker", type=count, metavar="N")
    add_plain(
        group, "--oversubscribe", "allow more workers than this machine has CPUs", action=argparse.BooleanOptionalAction
    )
    add_plain(
        group,
        "--address",
        "a running Ray cluster, auto for that of this machine, or local to start Ray here (default: RAY_ADDRESS; else auto "
        'where "ray up" made this machine the head of a cluster; else local)',
        metavar="ADDRESS",
    )
    add(group, "--wire", "how float32 gradients travel between nodes", choices=list(WIRES))
    add_plain(
        group,
        "--shard-optimizer",
        "each worker holds its part of the optimizer state only; one that is lost sends all to the newest snapshot",
        action=argparse.BooleanOptionalAction,
    )

    group = parser.add_argument_group("faults")
    add(group, "--nonfinite", "what a loss or gradient that is no number does to a run", choices=["stop", "skip"])
    add(group, "--loss-limit", 'a loss above it counts as no number, "none" for no limit', type=bound, metavar="X")
    add(group, "--silence", "seconds of silence after which a worker is replaced", type=positive, metavar="SECONDS")
    add(group, "--deadline", "seconds that a worker waits for the others", type=positive, metavar="SECONDS")
    add(group, "--check-every", "steps between comparisons of the workers' parameters", type=count, metavar="N")

    group = parser.add_argument_group("files and resuming")
    add_plain(group, "--out", "output folder (default: runs/MODEL)", metavar="FOLDER")
    add_plain(
        group,
        "--resume",
        "go on from the newest snapshot in --out, or from this snapshot file or run folder; auto: from the newest in --out "
        "where there is one, else start anew",
        nargs="?",
        const=True,
        metavar="auto|SNAPSHOT",
    )
    add_plain(
        group,
        "--snapshots-at",
        "another folder for the snapshots, or its URL in an object store (default: snapshots/ in --out)",
        metavar="FOLDER",
    )
    add(group, "--snapshot-every", "steps between snapshots", type=count, metavar="N")
    add(group, "--keep", "snapshots to keep", type=count, metavar="N")
    add_plain(
        group,
        "--best",
        'also keep the best snapshot of those taken after a validation: "lowest val_loss", for example',
        metavar="WHICH",
    )
    add_plain(
        group,
        "--patience",
        "stop early after N validations in a row without a better figure than the best (--best says which)",
        type=count,
        metavar="N",
    )
    add(group, "--min-delta", "by how much a better figure must be better", type=not_negative, metavar="X")
    add(
        group, "--last-batch", "leave out an epoch's last examples that fill no batch, or keep them", choices=["drop", "keep"]
    )
    add_plain(
        group,
        "--ahead",
        "bytes of batches that a worker reads ahead, 0 for none (default: 64 MiB where it pays)",
        type=size_or_none,
        metavar="BYTES",
    )
    add_plain(
        group,
        "--metrics-to",
        "where metrics go besides metrics.jsonl: tensorboard (event files in --out), prometheus (through Ray's own), or both "
        "with a comma",
        metavar="NAMES",
    )

    group = parser.add_argument_group("settings and errors")
    add_plain(
        group,
        "--config",
        "TOML file whose keys are these flags without the dashes; flags go over the file",
        metavar="FILE",
    )
    add_plain(group, "--show-config", "print the settings in force as such a file, and end", action="store_true")
    add_plain(group, "--verbose", "show tracebacks of errors", action="store_true")
    return parser
