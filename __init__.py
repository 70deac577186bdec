"""retape: exact gradients of plain NumPy programs inside a memory budget, on one machine or on a Ray cluster."""

from .checkpoint.errors import MemoryBudgetError
from .checkpoint.plan import Plan
from .checkpoint.saved import PlanMismatchError, SavedPlan, load_plan
from .checkpoint.tradeoff import Tradeoff
from .runtime import aliases, random
from .runtime.batching.vmap import vmap
from .runtime.check import GradientMismatch, check_grads
from .runtime.custom import custom_jvp, custom_vjp
from .runtime.errors import (
    BatchedValueError,
    ChangedError,
    DisconnectedError,
    EscapedError,
    InputError,
    MissingRuleError,
    NotDifferentiableError,
    RuleError,
    TapeError,
    ThreadError,
)
from .runtime.explain import Explanation, explain
from .runtime.finite import NonfiniteError, check_finite
from .runtime.graph import graph
from .runtime.ops import creation as numpy
from .runtime.ops.elementwise import stop_gradient
from .runtime.ops.softmax import log_softmax, logsumexp, softmax
from .runtime.patching import patch, patched, unpatch
from .runtime.primitives import defjvp, defvjp, primitive
from .runtime.recording import record
from .runtime.region import checkpoint
from .runtime.tape import Tape
from .runtime.transforms import jvp, linearize
from .scheduler.gradients import grad, value_and_grad
from .scheduler.loops.face import fori_loop, scan, while_loop
from .scheduler.microbatch import accumulate
from .scheduler.planning import plan
from .scheduler.report import Report
from .scheduler.spill import SpillError
from .scheduler.tradeoff import tradeoff
from .scheduler.transforms import hessian, hvp, jacobian, vjp

__all__ = [
    "BatchedValueError",
    "ChangedError",
    "DisconnectedError",
    "EscapedError",
    "Explanation",
    "GradientMismatch",
    "InputError",
    "MemoryBudgetError",
    "MissingRuleError",
    "NonfiniteError",
    "NotDifferentiableError",
    "Plan",
    "PlanMismatchError",
    "Report",
    "RuleError",
    "SavedPlan",
    "SpillError",
    "Tape",
    "TapeError",
    "ThreadError",
    "Tradeoff",
    "accumulate",
    "check_finite",
    "check_grads",
    "checkpoint",
    "custom_jvp",
    "custom_vjp",
    "defjvp",
    "defvjp",
    "explain",
    "fori_loop",
    "grad",
    "graph",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "linearize",
    "load_plan",
    "log_softmax",
    "logsumexp",
    "numpy",
    "patch",
    "patched",
    "plan",
    "primitive",
    "random",
    "record",
    "scan",
    "softmax",
    "stop_gradient",
    "tradeoff",
    "unpatch",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]

aliases.install()
