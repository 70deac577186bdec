"""vjp, hvp, jacobian and hessian, within a budget where one is given: the runtime's transforms, recorded and planned."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Unpack
from weakref import WeakKeyDictionary

from ..runtime import derivatives, transforms, trees
from ..runtime.arguments import check_leaves, check_outputs, fit_to_output, is_differentiable_leaf, split_aux
from .bounded import Bounded
from .options import Budget, Options, read_options
from .programs import Programs


def vjp(f: Callable, *args: Any, has_aux: bool = False, **budget: Unpack[Budget]) -> tuple:
    """Return ``(output, pullback)`` or ``(output, pullback, aux)``; `pullback(cotangent)` gives one cotangent per argument.

    Every argument is differentiated; outputs may be nested containers of arrays of any shape. The pullback may be
    called again, also inside another transform. For complex arrays it multiplies by the transpose of the Jacobian,
    without conjugation.

    With a `memory_budget` (see `grad` for the keywords) the pullback holds the arguments and nothing else: each call of it
    runs `f` again, within the budget, and compares the output with the first one.

    Raises `InputError` for arguments that have no derivative, and, of the pullback, for outputs that are no numbers, for a
    cotangent that does not fit the output, and `ChangedError` where an array that it reads (an argument, an output or one
    that `f` took from outside) was written to since, or where `f` returns something else when it is run again. Under a
    budget also what `grad` raises.

    >>> import numpy as np, retape as rt
    >>> y, pullback = rt.vjp(lambda a, b: a * b, 3.0, 4.0)
    >>> [float(g) for g in pullback(1.0)]
    [4.0, 3.0]
    """
    options = read_options("vjp", budget)
    if options is None:
        return transforms.vjp(f, *args, has_aux=has_aux)

    bounded = _bounded(lambda *primals: split_aux(f(*primals), has_aux), options, f, ("vjp", has_aux))
    leaves, arguments_tree = check_leaves(args, "arguments")
    treedef = trees.flatten((args, {}))[1]
    (output, aux), pull = bounded.with_pull(leaves, treedef, tuple((k,) for k in range(len(leaves))))
    outputs, out_tree = trees.flatten(output)
    more = [None] * len(trees.flatten(aux)[0])

    def pullback(cotangent: Any) -> tuple:
        check_outputs(output)
        given = fit_to_output(cotangent, outputs, out_tree, "cotangent", "output")
        moved = [g if is_differentiable_leaf(y) else None for g, y in zip(given, outputs, strict=True)]
        return trees.unflatten(arguments_tree, list(pull(moved + more, [None] * len(leaves))))

    return (output, pullback, aux) if has_aux else (output, pullback)


def hvp(f: Callable, primals: Sequence, tangents: Sequence, **budget: Unpack[Budget]) -> Any:
    """Return the product of the Hessian of a scalar function `f` at `primals` with `tangents`, one entry per argument.

    Reverse over reverse (a Hessian is its own transpose): two gradients' worth of calls, with half the cost of a call that
    forward over reverse has here. Where memory matters more, give a `memory_budget` (see `grad` for the keywords), or use
    ``jvp(grad(f), primals, tangents)``, which holds only the gradient's residuals, each with its tangent. Raises what `grad`
    raises.

    >>> import numpy as np, retape as rt
    >>> rt.hvp(lambda x: np.sum(x**3), (np.array([1.0, 2.0]),), (np.array([1.0, 1.0]),))[0].tolist()
    [6.0, 12.0]
    """
    options = read_options("hvp", budget)
    if options is None:
        return derivatives.hvp(f, primals, tangents)
    return _bounded(lambda *pair: derivatives.hvp(f, *pair), options, f, "hvp")(tuple(primals), tuple(tangents))


def jacobian(
    f: Callable,
    argnums: int | Sequence[int] = 0,
    *,
    mode: str = "auto",
    has_aux: bool = False,
    batch_size: int | None = None,
    **budget: Unpack[Budget],
) -> Callable:
    """Return a function that computes the Jacobian of `f` by the arguments that `argnums` names.

    For an output of shape ``s`` and an argument of shape ``t`` it has shape ``s + t``; containers nest, the output's outside,
    the argument's inside. `mode` is "forward" (one column per input element), "reverse" (one row per output element) or
    "auto" (whichever is fewer); the function runs once. Entries have the argument's dtype, complex where the output is. Of a
    real output by a complex argument they are df/dx - i df/dy, as the gradient is.

    Rows (columns) are computed in batches: one sweep, every op on `batch_size` of them at once. Without a `batch_size`, up to
    3 are computed one by one; else the ops of the first 16 tell how many go together, so that none makes an array of over
    64 MiB. Any batch size gives the same Jacobian up to rounding in products of matrices. A rule of your own that computes
    outside of NumPy is called for one row at a time, unless a `batch_size` is named. A `memory_budget` (see `grad` for the
    keywords) bounds the Jacobian, too; a smaller batch takes less.

    Raises `InputError` for arguments without a derivative, `ValueError` for an unknown mode or a batch size below 1, and
    under a budget what `grad` raises.

    >>> import numpy as np, retape as rt
    >>> rt.jacobian(lambda x: x**2)(np.array([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    options = read_options("jacobian", budget)
    plain = derivatives.jacobian(f, argnums, mode=mode, has_aux=has_aux, batch_size=batch_size)
    return plain if options is None else Bounded(plain, options)


def hessian(
    f: Callable, argnums: int | Sequence[int] = 0, *, batch_size: int | None = None, **budget: Unpack[Budget]
) -> Callable:
    """Return a function that computes the Hessian of a scalar function `f`: reverse sweeps over its gradient.

    Rows are computed in batches, as those of a `jacobian` are; see there for `batch_size`. A `memory_budget` (see `grad`
    for the keywords) bounds the Hessian, too. Raises what `grad` raises.

    >>> import numpy as np, retape as rt
    >>> rt.hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    options = read_options("hessian", budget)
    plain = derivatives.hessian(f, argnums, batch_size=batch_size)
    return plain if options is None else Bounded(plain, options)


# What functions were seen to do, as long as they live: transforms that are called with their arguments at once leave nothing
# behind that could remember it.
_SEEN: WeakKeyDictionary[Any, dict[Hashable, Programs]] = WeakKeyDictionary()


def _bounded(plain: Callable, options: Options, f: Callable, kind: Hashable) -> Bounded:
    try:
        programs = _SEEN.setdefault(f, {}).setdefault((kind, options), Programs())
    except TypeError:  # neither every function nor every subscriber can be a key
        programs = None
    return Bounded(plain, options, programs=programs)
