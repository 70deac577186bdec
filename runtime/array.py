"""The traced array: what user code computes with while a tape records; and `apply`, through which every op goes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import MissingRuleError, NotDifferentiableError
from .op import FUNCTIONS, OPS, OUTPUT, UFUNCS, Op
from .tape import Tape, user_line


def apply(op: Op, args: tuple, parameters: dict | None = None) -> Any:
    """Run `op` on `args`; where one of them is traced, record the call on the innermost of their tapes."""
    tape: Tape | None = None
    for a in args:
        if type(a) is Array and (tape is None or a._tape.level > tape.level):
            tape = a._tape
    if tape is None:
        return op.run(*args, **parameters) if parameters else op.run(*args)
    return record(tape, op, args, parameters)


def record(tape: Tape, op: Op, args: tuple, parameters: dict | None = None) -> Array:
    """Record one call on `tape` and return its output. Raises `EscapedError` when the tape is closed."""
    if tape.closed:
        tape.require_open()
    slots = []
    values = []
    active = tape.active
    for a in args:
        if type(a) is Array and a._tape is tape:
            slots.append(a._slot)
            values.append(a._value)
        else:
            slots.append(tape.constant(a))
            values.append(a)
    if tape.keeper is not None:
        return _record_with_keeper(tape, op, tuple(slots), parameters)
    y = apply(op, tuple(values), parameters)
    mask = tuple([bool(active[slot]) for slot in slots])
    return _finish(tape, op, slots, values, mask, parameters, y)


def _finish(tape: Tape, op: Op, slots: list, values: list, mask: tuple, parameters: dict | None, y: Any) -> Array:
    held = tape.values
    active = tape.active
    output = len(held)
    region = tape.region
    is_active = False
    if region is None:
        held.append(None)
        if True in mask:
            is_active = is_differentiable(op, mask)
            if is_active:
                for read in op.residuals(mask):
                    if read == OUTPUT:
                        held[output] = y
                    else:
                        held[slots[read]] = values[read]
                        if not active[slots[read]]:
                            tape.freeze(values[read])
    else:
        # Inside a checkpointed region only what comes from outside is held; the rest is made again.
        held.append(None)
        is_active = True in mask and is_differentiable(op, mask)
        for slot, value in zip(slots, values, strict=True):
            if slot < region:
                held[slot] = value
            if not active[slot]:
                tape.freeze(value)
    tape.shapes.append(y.shape)
    tape.dtypes.append(y.dtype)
    tape.active.append(is_active)
    if is_active or region is not None:
        tape.calls.append((op, tuple(slots), parameters, output))
    array = _new_array(Array)
    array._tape = tape
    array._slot = output
    array._value = y
    return array


def is_differentiable(op: Op, mask: tuple[bool, ...]) -> bool:
    """Tell whether the output depends differentiably on one of the active inputs."""
    if op.zero_gradient:
        return False
    rules = op.rules
    last = len(rules) - 1
    return any(is_active and rules[min(k, last)] is not None for k, is_active in enumerate(mask))


def _record_with_keeper(tape: Tape, op: Op, slots: tuple[int, ...], parameters: dict | None) -> Array:
    phantoms = [tape.phantoms[slot] for slot in slots]
    made = op.infer(*phantoms, **parameters) if parameters else op.infer(*phantoms)
    alias = -1
    if op.is_view:
        made, shares = made
        if shares:
            alias = tape.aliases[slots[0]] if tape.aliases[slots[0]] >= 0 else slots[0]
    mask = tuple([bool(tape.active[slot]) for slot in slots])
    output = len(tape.values)
    tape.values.append(None)
    tape.shapes.append(made.shape)
    tape.dtypes.append(made.dtype)
    tape.phantoms.append(made)
    tape.aliases.append(alias)
    tape.active.append(True in mask and is_differentiable(op, mask))
    tape.lines.append(user_line())
    tape.calls.append((op, slots, parameters, output))
    keeper = tape.keeper
    assert keeper is not None
    keeper.admit(len(tape.calls) - 1)
    array = Array(tape, output, None)
    keeper.watch(array)
    return array


def _unary(op: Op, x: Array) -> Array:
    tape = x._tape
    if tape.keeper is not None or tape.region is not None or tape.closed:
        return record(tape, op, (x,))
    value = x._value
    y = op.run(value) if type(value) is not Array else apply(op, (value,))
    held = tape.values
    output = len(held)
    slot = x._slot
    held.append(None)
    is_active = tape.active[slot] and not op.zero_gradient
    if is_active:
        for read in op.rules[0].residuals:  # pyright: ignore[reportOptionalMemberAccess]
            if read == 0:
                held[slot] = value
            else:
                held[output] = y
        tape.calls.append((op, (slot,), None, output))
    tape.active.append(is_active)
    tape.shapes.append(y.shape)
    tape.dtypes.append(y.dtype)
    array = _new_array(Array)
    array._tape = tape
    array._slot = output
    array._value = y
    return array


def _binary(op: Op, a: Any, b: Any) -> Any:
    if type(a) is Array:
        tape = a._tape
        if tape.keeper is None and tape.region is None and not tape.closed:
            if type(b) is Array:
                if b._tape is tape:
                    va = a._value
                    vb = b._value
                    if type(va) is not Array and type(vb) is not Array:
                        slots = [a._slot, b._slot]
                        active = tape.active
                        mask = _MASKS[active[slots[0]]][active[slots[1]]]
                        return _finish(tape, op, slots, [va, vb], mask, None, op.run(va, vb))
            elif type(a._value) is not Array and isinstance(b, _PLAIN):
                va = a._value
                slots = [a._slot, tape.constant(b)]
                mask = _MASKS[tape.active[slots[0]]][0]
                return _finish(tape, op, slots, [va, b], mask, None, op.run(va, b))
    return apply(op, (a, b))


_PLAIN = (int, float, np.ndarray, np.generic)
_MASKS = (((False, False), (False, True)), ((True, False), (True, True)))


def read(array: Array, purpose: str) -> Any:
    """Return the plain value behind `array` for Python's own use (a branch, an index).

    Raises `NotDifferentiableError` when that would lose a gradient.
    """
    tape = array._tape
    tape.require_open()
    if tape.active[array._slot] and purpose != "bool":
        raise NotDifferentiableError(
            f"{purpose} of a traced array would lose its gradient: stay with NumPy functions on arrays, build arrays "
            "with retape.numpy (array, asarray, full, stack), or say retape.stop_gradient(x) if no gradient is wanted"
        )
    if tape.keeper is None:
        value = array._value
    else:
        record(tape, OPS["read"], (array,))
        value = tape.keeper.value(array._slot)
    return read(value, purpose) if type(value) is Array else value


def plain(array: Any) -> Any:
    """Return the plain value of a traced array, whatever becomes of its gradient (for printing and for outputs)."""
    while type(array) is Array:
        tape = array._tape
        array = array._value if tape.keeper is None else tape.keeper.value(array._slot)
    return array


class Array:
    """A traced array: stands for the value in one slot of a tape, and behaves like an ndarray."""

    __slots__ = ("_tape", "_slot", "_value", "_family", "_link", "__weakref__")
    __array_priority__ = 1000.0

    if TYPE_CHECKING:  # the methods that `ops.methods` attaches
        astype: Any
        reshape: Any
        sum: Any

    def __init__(self, tape: Tape, slot: int, value: Any) -> None:
        self._tape = tape
        self._slot = slot
        self._value = value

    shape = property(lambda self: self._tape.shapes[self._slot])
    dtype = property(lambda self: self._tape.dtypes[self._slot])
    ndim = property(lambda self: len(self._tape.shapes[self._slot]))
    T = property(lambda self: np.transpose(self))
    mT = property(lambda self: np.swapaxes(self, -1, -2))
    real = property(lambda self: np.real(self))
    imag = property(lambda self: np.imag(self))

    @property
    def size(self) -> int:
        """The number of elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without dimensions")
        return self.shape[0]

    def __iter__(self) -> Iterator:
        return (self[index] for index in range(len(self)))

    def __bool__(self) -> bool:
        return bool(read(self, "bool"))

    def __float__(self) -> float:
        return float(read(self, "float()"))

    def __int__(self) -> int:
        return int(read(self, "int()"))

    def __index__(self) -> int:
        return read(self, "an index").__index__()

    def __complex__(self) -> complex:
        return complex(read(self, "complex()"))

    def item(self, *args: Any) -> Any:
        """Return one element as a Python number; only where no gradient is lost."""
        return read(self, ".item()").item(*args)

    def tolist(self) -> Any:
        """Return nested Python numbers; only where no gradient is lost."""
        return read(self, ".tolist()").tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        value = np.asarray(read(self, "conversion to a plain array"))
        return value if dtype is None else value.astype(dtype)

    def __repr__(self) -> str:
        if self._tape.closed:
            return f"Array(shape={self.shape}, dtype={self.dtype}, escaped)"
        return f"Array({self.dtype}{list(self.shape)}, slot {self._slot})"

    def __format__(self, spec: str) -> str:
        return format(plain(self), spec)

    def __hash__(self) -> int:
        return id(self)

    def __getitem__(self, index: Any) -> Any:
        return FUNCTIONS["getitem"](self, index)  # pyright: ignore[reportArgumentType]

    def __setitem__(self, index: Any, value: Any) -> None:
        FUNCTIONS["setitem"](self, index, value)  # pyright: ignore[reportArgumentType]

    def __pow__(self, other: Any) -> Any:
        return FUNCTIONS[np.power](self, other)

    def __rpow__(self, other: Any) -> Any:
        return FUNCTIONS[np.power](other, self)

    def __ipow__(self, other: Any) -> Any:
        return FUNCTIONS["repoint"](self, self**other)  # pyright: ignore[reportArgumentType]

    def __matmul__(self, other: Any) -> Any:
        return FUNCTIONS[np.matmul](self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return FUNCTIONS[np.matmul](other, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __round__(self, digits: int = 0) -> Any:
        return np.round(self, digits)

    def __neg__(self) -> Any:
        return _unary(UFUNCS[np.negative], self)

    def __pos__(self) -> Any:
        return _unary(UFUNCS[np.positive], self)

    def __abs__(self) -> Any:
        return _unary(UFUNCS[np.absolute], self)

    def __invert__(self) -> Any:
        return apply(UFUNCS[np.invert], (self,))

    def __copy__(self) -> Any:
        return np.copy(self)

    def __deepcopy__(self, memo: dict) -> Any:
        return np.copy(self)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        if method == "__call__" and not keywords:
            op = UFUNCS.get(ufunc)
            handler = FUNCTIONS.get(ufunc)
            if handler is not None:
                return handler(*inputs)
            if op is not None:
                if len(inputs) == 1:
                    return _unary(op, inputs[0])
                if len(inputs) == 2:
                    return _binary(op, *inputs)
                return apply(op, inputs)
        return _ufunc_form(ufunc, method, inputs, keywords)

    def __array_function__(self, function: Callable, types: Any, args: tuple, keywords: dict) -> Any:
        handler = FUNCTIONS.get(function)
        if handler is None:
            return _without_handler(function, args, keywords)
        try:
            return handler(*args, **keywords)
        except TypeError:
            _require_form(function, handler, args, keywords)
            raise


_new_array = Array.__new__


def _is_active(tree: Any) -> bool:
    if type(tree) is Array:
        return bool(tree._tape.active[tree._slot])
    if isinstance(tree, (list, tuple)):
        return any(_is_active(item) for item in tree)
    return isinstance(tree, dict) and any(_is_active(item) for item in tree.values())


def _plainly(tree: Any) -> Any:
    """Return `tree` with inactive traced arrays read out."""
    if type(tree) is Array:
        return read(tree, "a NumPy function without a rule")
    if isinstance(tree, (list, tuple)):
        items = [_plainly(item) for item in tree]
        return type(tree)(items) if type(tree) in (list, tuple) else type(tree)(*items)
    if isinstance(tree, dict):
        return {key: _plainly(item) for key, item in tree.items()}
    return tree


def _name(function: Callable) -> str:
    return f"{getattr(function, '__module__', 'numpy')}.{getattr(function, '__name__', function)}"


def _require_form(function: Callable, handler: Callable, args: tuple, keywords: dict) -> None:
    """Raise `MissingRuleError` for arguments that NumPy's function takes and its handler does not."""
    try:
        inspect.signature(handler).bind(*args, **keywords)
    except TypeError as error:
        raise MissingRuleError(
            f"{_name(function)} of a traced array does not take these arguments here ({error}). Leave them out, or "
            "compose the same of functions that have a rule"
        ) from None


def _without_handler(function: Callable, args: tuple, keywords: dict) -> Any:
    """Run a function that has no handler: plainly where no gradient is at stake, else through NumPy's own source."""
    if not _is_active(args) and not _is_active(keywords):
        if function in _WRITERS and args and type(args[0]) is Array:
            raise MissingRuleError(
                f"{_name(function)} does not write into a traced array here: write by index (x[i] = v), or use np.where"
            )
        return function(*_plainly(args), **_plainly(keywords))
    implementation = getattr(function, "_implementation", None)
    try:
        if implementation is None or not hasattr(implementation, "__code__"):
            raise NotDifferentiableError("it is written in C")
        return implementation(*args, **keywords)
    except (NotDifferentiableError, AttributeError) as error:
        raise MissingRuleError(
            f"{_name(function)} has no derivative rule here ({error}). Compose it of functions that have one, or call it on "
            "retape.stop_gradient(x) if no gradient is wanted"
        ) from error


_WRITERS = (np.copyto, np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis)


def write_out(out: Any, result: Any, name: str) -> Any:
    """Write a result into a traced array, as ``out=`` asks, and return that array.

    Raises `NotDifferentiableError` for a plain array: it cannot hold a traced value.
    """
    target = out[0] if isinstance(out, tuple) else out
    if type(target) is not Array:
        raise NotDifferentiableError(
            f"{name} was asked to write a traced result into a plain array (out= or an in-place operator on it): make "
            "that array with retape.numpy (array, full) or np.zeros_like of a traced one, or use the result it returns"
        )
    return FUNCTIONS["repoint"](target, result)  # pyright: ignore[reportArgumentType]


FUNCTIONS["write_out"] = write_out  # pyright: ignore[reportArgumentType]


def _ufunc_form(ufunc: np.ufunc, method: str, inputs: tuple, keywords: dict) -> Any:
    """Handle a ufunc's methods and keyword forms."""
    out = keywords.pop("out", None)
    is_masked = keywords.get("where", True) is not True
    if out is not None and not (is_masked and method == "__call__"):
        return write_out(out, getattr(ufunc, method)(*inputs, **keywords), f"numpy.{ufunc.__name__}")
    if method == "__call__":
        dtype = keywords.get("dtype")
        is_cast = dtype is not None and (np.dtype(dtype).kind != "f" or ufunc in UFUNCS and UFUNCS[ufunc].zero_gradient)
        if not is_masked and not is_cast and keywords.get("casting", "same_kind") == "same_kind":
            keywords = {k: v for k, v in keywords.items() if k not in ("dtype", "where", "casting")}
            if not keywords:
                handler = FUNCTIONS.get(ufunc)
                if dtype is not None:
                    inputs = tuple(np.asarray(a, dtype) if type(a) is not Array else a.astype(dtype) for a in inputs)
                if handler is not None:
                    return handler(*inputs)
                if ufunc in UFUNCS:
                    return apply(UFUNCS[ufunc], inputs)
    else:
        handler = FUNCTIONS.get((ufunc, method))  # pyright: ignore[reportArgumentType]
        if handler is not None:
            return handler(*inputs, **keywords)
    if out is None and method != "at" and not _is_active(inputs) and not _is_active(keywords):
        return getattr(ufunc, method)(*_plainly(inputs), **_plainly(keywords))
    form = f"numpy.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    words = f" with {', '.join(sorted(keywords))}=" if keywords else ""
    raise MissingRuleError(
        f"{form}{words} has no derivative rule here. Compose it of functions that have one (for where=, use np.where "
        "on the result), or call it on retape.stop_gradient(x) if no gradient is wanted"
    )


def _install_operators() -> None:
    """Give `Array` Python's operators; each goes straight to its op, past NumPy's dispatch."""
    table = {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide,
        "floordiv": np.floor_divide, "mod": np.remainder, "and": np.bitwise_and, "or": np.bitwise_or,
        "xor": np.bitwise_xor, "lshift": np.left_shift, "rshift": np.right_shift,
    }  # fmt: skip
    comparisons = {
        "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
        "eq": np.equal, "ne": np.not_equal,
    }  # fmt: skip

    def forward(ufunc: np.ufunc) -> Callable:
        return lambda self, other: _binary(UFUNCS[ufunc], self, other)

    def reflected(ufunc: np.ufunc) -> Callable:
        return lambda self, other: _binary(UFUNCS[ufunc], other, self)

    def in_place(ufunc: np.ufunc) -> Callable:
        return lambda self, other: FUNCTIONS["repoint"](self, _binary(UFUNCS[ufunc], self, other))  # pyright: ignore

    for name, ufunc in (table | comparisons).items():
        setattr(Array, f"__{name}__", forward(ufunc))
    for name, ufunc in table.items():
        setattr(Array, f"__r{name}__", reflected(ufunc))
        setattr(Array, f"__i{name}__", in_place(ufunc))


_install_operators()
