"""Makes a Run: the same gradient step on many workers, all-reduced, updated, saved and resumed."""

from importlib.util import find_spec as _find_spec

_missing = [name for name in ("ray", "msgpack") if _find_spec(name) is None]
if _missing:
    raise ImportError(f"retape.cluster needs {' and '.join(_missing)}: pip install 'retape[cluster]'")

from .data import (  # noqa: E402 - the check above comes first, for its text
    ArrayFiles,
    Arrays,
    Examples,
    ImageFolder,
    Order,
    ParquetFiles,
    Source,
    TextFiles,
)
from .errors import (  # noqa: E402
    AbortedError,
    ClusterSizeError,
    ConfigError,
    DataError,
    DeadlineError,
    MessageError,
    MismatchError,
    NonFiniteLossError,
    ReplicaMismatchError,
    RunError,
    SnapshotError,
    WorkerDiedError,
)
from .job import TrainConfig  # noqa: E402
from .optimizers import (  # noqa: E402
    Optimizer,
    adamw,
    clip_by_global_norm,
    constant,
    cosine,
    global_norm,
    lamb,
    lars,
    linear_scaling,
    momentum,
    sgd,
    square_root_scaling,
    staircase,
    warmup,
    warmup_cosine,
)
from .run import TrainResult, train  # noqa: E402
from .snapshot import Snapshot, export_parameters  # noqa: E402
from .snapshot import latest as latest_snapshot  # noqa: E402
from .snapshot import load as load_snapshot  # noqa: E402
from .snapshot import save as save_snapshot  # noqa: E402

__all__ = [
    "AbortedError",
    "ArrayFiles",
    "Arrays",
    "ClusterSizeError",
    "ConfigError",
    "DataError",
    "DeadlineError",
    "Examples",
    "ImageFolder",
    "MessageError",
    "MismatchError",
    "NonFiniteLossError",
    "Optimizer",
    "Order",
    "ParquetFiles",
    "ReplicaMismatchError",
    "RunError",
    "Snapshot",
    "SnapshotError",
    "Source",
    "TextFiles",
    "TrainConfig",
    "TrainResult",
    "WorkerDiedError",
    "adamw",
    "clip_by_global_norm",
    "constant",
    "cosine",
    "export_parameters",
    "global_norm",
    "lamb",
    "lars",
    "latest_snapshot",
    "linear_scaling",
    "load_snapshot",
    "momentum",
    "save_snapshot",
    "sgd",
    "square_root_scaling",
    "staircase",
    "train",
    "warmup",
    "warmup_cosine",
]
