"""Forms of programs that write in place: NumPy's writing functions, and what views, numbers and other names then show."""

import numpy as np

import retape as rt

from . import Form, cplx, distinct, positive, real

X = real(3, 4)
V = real(4, seed=1)
Z = cplx(3, 4)
ROWS, COLUMNS = np.array([2, 0, -1, 0]), np.array([[3], [0], [1]])


def writes(write):
    """A program that lets `write` change a copy of an array, and shows it, a view made before and one made after."""

    def f(x, *more):
        y = x * x
        before = y.T[1:]
        write(y, x, *more)
        return y * x, before, y.reshape(-1)[::2]

    return f


def masked(y):
    return np.abs(y) > 0.3


FUNCTIONS = [
    ("numpy.copyto", "an array", lambda y, x, v: np.copyto(y, x[::-1] * v)),
    ("numpy.copyto", "a row", lambda y, x, v: np.copyto(y, v**2)),
    ("numpy.copyto", "a number", lambda y, x, v: np.copyto(y[1], 2)),
    ("numpy.copyto", "axes of length one too many", lambda y, x, v: np.copyto(y, v[None, None])),
    ("numpy.copyto", "through a mask", lambda y, x, v: np.copyto(y, v * x, where=masked(y))),
    ("numpy.copyto", "a value through a mask", lambda y, x, v: np.copyto(y.T, v[0] ** 2, where=[True, False, True])),
    ("numpy.copyto", "through a list", lambda y, x, v: np.copyto(y[0], v, where=[1, 0, 0, 1])),
    ("numpy.copyto", "of any dtype", lambda y, x, v: np.copyto(y, np.arange(4), casting="unsafe")),
    ("numpy.copyto", "to itself", lambda y, x, v: np.copyto(y[1:], y[:-1])),
    ("numpy.put", "places", lambda y, x, v: np.put(y, [0, -1, 5, 5], v)),
    ("numpy.put", "values repeated", lambda y, x, v: np.put(y, [[1, 2], [3, 9]], v[:3] ** 2)),
    ("numpy.put", "one value", lambda y, x, v: np.put(y.T, 7, v[0])),
    ("numpy.put", "round and round", lambda y, x, v: np.put(y, [13, -14], v, mode="wrap")),
    ("numpy.put", "clipped", lambda y, x, v: np.put(y, [99, -99], v, mode="clip")),
    ("numpy.put", "nothing", lambda y, x, v: np.put(y, [], v)),
    ("numpy.ndarray.put", "places", lambda y, x, v: y[1].put([0, 2], v * v)),
    ("numpy.place", "values repeated", lambda y, x, v: np.place(y, masked(y), v[:2] ** 2)),
    ("numpy.place", "in a view", lambda y, x, v: np.place(y[:, ::2], masked(y[:, ::2]), v)),
    ("numpy.place", "nowhere", lambda y, x, v: np.place(y, np.zeros((3, 4), bool), [])),
    ("numpy.putmask", "an array", lambda y, x, v: np.putmask(y, masked(y), x**3)),
    ("numpy.putmask", "values repeated", lambda y, x, v: np.putmask(y, masked(y), v[:3])),
    ("numpy.putmask", "a number", lambda y, x, v: np.putmask(y.T, masked(y).T, 0)),
    ("numpy.put_along_axis", "the last", lambda y, x, v: np.put_along_axis(y, COLUMNS, x[:, :1] ** 2, -1)),
    ("numpy.put_along_axis", "the first", lambda y, x, v: np.put_along_axis(y, np.array([[0, 1, 2, -1]]), v, 0)),
    ("numpy.put_along_axis", "flat", lambda y, x, v: np.put_along_axis(y, np.array([3, -1, 0]), v[:3] ** 2, None)),
    ("numpy.fill_diagonal", "values repeated", lambda y, x, v: np.fill_diagonal(y, v[:2] ** 2)),
    ("numpy.fill_diagonal", "tall", lambda y, x, v: np.fill_diagonal(y.T, v[0])),
    ("numpy.fill_diagonal", "tall and wrapped", lambda y, x, v: np.fill_diagonal(y[:, :1], v, wrap=True)),
    ("numpy.ndarray.__setitem__", "one element", lambda y, x, v: y.__setitem__((1, 2), v[0] * v[1])),
    ("numpy.ndarray.__setitem__", "a traced mask", lambda y, x, v: y.__setitem__(y > 0.5, v[2] ** 2)),
    ("numpy.ndarray.__setitem__", "a truth", lambda y, x, v: y.__setitem__(np.bool_(True), v)),
    ("numpy.ndarray.__setitem__", "a falsehood", lambda y, x, v: y.__setitem__(False, v)),
    ("numpy.ndarray.__setitem__", "integers to numbers", lambda y, x, v: y.__setitem__(0, [1, 2, 3, 4])),
    ("numpy.ndarray.__setitem__", "a list with traced values", lambda y, x, v: y.__setitem__(1, [v[0], 2.0, v[1] ** 2, 1])),
    ("numpy.ndarray.__setitem__", "a row over the next", lambda y, x, v: y.__setitem__(slice(1, None), y[:-1])),
    ("numpy.ndarray.__setitem__", "the reverse", lambda y, x, v: y.__setitem__(..., y[::-1, ::-1])),
    ("numpy.ndarray.__setitem__", "rows exchanged", lambda y, x, v: y.__setitem__([0, 2], y[[2, 0]])),
    ("numpy.ndarray.__setitem__", "rows named twice", lambda y, x, v: y.__setitem__(ROWS, np.outer(v, v))),
    ("numpy.ndarray.__setitem__", "nothing", lambda y, x, v: y.__setitem__(slice(2, 2), v[0])),
    ("numpy.ndarray.__setitem__", "through views of views", lambda y, x, v: y.T[1:].reshape(-1)[::-1].__setitem__(0, v[0])),
    ("numpy.ndarray.__setitem__", "through new axes", lambda y, x, v: y[None, :, None, 1:].__setitem__((..., 0), v[0] ** 2)),
    ("numpy.ndarray.__setitem__", "lists of lists", lambda y, x, v: [y[i].__setitem__(j, v[j] * x[i][0])
                                                                    for i in range(3) for j in range(4)]),
    ("numpy.multiply", "out= a view", lambda y, x, v: np.multiply(y[0], v, out=y[:, :3].T.reshape(-1)[4:8])),
    ("numpy.add", "out= overlapping its input", lambda y, x, v: np.add(y[:, :-1], y[:, 1:], out=y[:, 1:])),
    ("numpy.cumsum", "out= a column", lambda y, x, v: np.cumsum(y[0, :3], out=y[:, 1])),
    ("numpy.matmul", "out= its input", lambda y, x, v: np.matmul(y[:, :3], y[:, 1:], out=y[:, :3])),
    ("numpy.add.at", "a view, rows twice", lambda y, x, v: np.add.at(y.T, [0, 2, 0], np.outer(v[:3], v[:3]))),
]  # fmt: skip


def numbers_exchanged(x, v):
    y = v * v
    y[0], y[1] = y[1], y[0]
    y[2:4] = y[3], y[2]
    return y * v


def a_number_kept(x, v):
    y = v * v
    first, total = y[0], np.sum(y)
    best = total
    total += first
    y[0] = 5.0
    first *= 2.0
    return y * best + total * first


def the_best_of_a_loop(x, v):
    best = current = v[0] * v[1]
    for row in x:
        current *= np.sum(row)
        current += 0.1
        best = np.maximum(best, current) + best
    return best


def arrays_without_dimensions(x, v):
    z = np.zeros_like(v[0])
    same, view = z, v[1:2].reshape(())
    z += v[0] ** 2
    part = (v * v)[2, ...]
    alias = part
    part += 1.0
    chosen = np.where(v[0] > 0, v[1] ** 2, v[2])
    other = chosen
    other += z
    return same * view + alias * z * chosen


def copies_of_numbers(x, v):
    total = np.sum(v)
    for made in (np.atleast_1d(total), total.reshape(1), total[None], np.copy(total), rt.numpy.array(total)):
        made += 1.0
        made[...] = 7.0
    return total * v


def parts_of_a_base_that_is_gone(x, v):
    a, b = np.split(x * x, [1])
    left, right = halves(v * v)
    a *= 2.0
    b[0] += a[0]
    left += right[-1]
    right[0] = left[-1]
    return a, b, left, right


def halves(x):
    return x[:3], x[2:]


def overlapping_views(x, v):
    y = x * x
    left, right, column, flat = y[:, :3], y[:, 1:], y[:, 2], y.reshape(-1)
    left *= v[:3]
    right[0] = flat[:3]
    column[1:] = left[:2, 0]
    flat[5] += right[2, 2]
    return left, right * column[:, None], flat


def a_chain_of_slices(x, v):
    y = v * v
    rest = y
    while len(rest) > 1:
        rest[1] += 0.5 * rest[0]
        rest = rest[1:]
    return y


def kept_rows(x, v):
    u = np.zeros_like(x, shape=(6, 4))
    u[0] = v
    rows = []
    for t in range(5):
        rows.append(u[t])
        u[t + 1] = rows[-1] * x[t % 3] + 0.1
    u[2] *= 2.0
    return u, rows


def fortran_order(x, v):
    y = np.copy(x, order="F")
    y[0] = v
    flat = y.ravel("F")
    flat[1] = v[0] * v[1]
    y.T.reshape(-1)[3:5] *= v[2:]
    y *= np.ascontiguousarray(x) if type(x) is np.ndarray else x
    y.T.reshape(-1)[0] = v[3]
    return y, flat


def an_argument(x, v):
    x = x[...]
    x[1:] *= 2.0
    x[0] = x[1] * v
    v += x[2]
    return x * v


def stencil(x, v):
    u = np.outer(v, v)
    for _ in range(3):
        u[1:-1, 1:-1] += 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
    return u


def a_checkpointed_function_that_writes(x, v):
    def change(a):
        a[0] = a[1] * 2.0
        a *= 3.0
        return np.sum(a)

    y = v * v
    total = (rt.checkpoint(change) if type(v) is not np.ndarray else change)(y[1:])
    return y * total


def shuffled(x, v):
    y = v * v
    numbers = np.arange(4)
    np.random.default_rng(3).shuffle(numbers)
    y[:] = y[numbers]
    return y * v


def lists_beside_arrays(x, v):
    return v * [1.0, 2.0, 3.0, 4.0] + [v[0], 2.0, v[1], 1.0] * v - np.multiply([v[2]] * 4, v)


PROGRAMS = [
    numbers_exchanged, a_number_kept, the_best_of_a_loop, arrays_without_dimensions, copies_of_numbers,
    parts_of_a_base_that_is_gone, overlapping_views, a_chain_of_slices, kept_rows, fortran_order, an_argument, stencil,
    a_checkpointed_function_that_writes, shuffled, lists_beside_arrays,
]  # fmt: skip


def parts(y, x):
    y.real[1:] = 3.0
    y.imag *= 2.0
    y.real[0] += y.imag[1]
    y.imag.T[0] = np.abs(x[:, 1])


def pairs(y, x):
    flat = y.view(np.real(y).dtype)
    flat[:, ::2] *= 2.0
    flat[0, 1] = np.real(x[1, 1])


FORMS = [
    *(Form(name, text, writes(write), (X, V)) for name, text, write in FUNCTIONS),
    *(Form("numpy.ndarray.__setitem__", f.__name__.replace("_", " "), f, (X, V), tolerance=1e-5,
           float32=f is not the_best_of_a_loop) for f in PROGRAMS),
    *(Form(name, f"{text}, complex", writes(write), (Z, cplx(4, seed=1))) for name, text, write in FUNCTIONS
      if name in ("numpy.copyto", "numpy.put", "numpy.fill_diagonal", "numpy.add.at")),
    Form("numpy.ndarray.real", "written through", writes(parts), (Z,), tolerance=1e-5),
    Form("numpy.ndarray.view", "pairs written through", writes(pairs), (Z,), tolerance=1e-5),
    Form("numpy.fill_diagonal", "of a cube", writes(lambda y, x, v: np.fill_diagonal(y, v**2)), (real(3, 3, 3), V)),
    Form("numpy.ndarray.sort", "of a view", writes(lambda y, x: y[:, ::2].sort(0)), (distinct(3, 4),)),
    Form("numpy.ndarray.partition", "of a view", writes(lambda y, x: y.T[1:].partition(1)), (distinct(3, 4),)),
    Form("numpy.ndarray.fill", "of a view", writes(lambda y, x: y.T[1:].fill(x[0, 0] * x[1, 1])), (X,)),
    Form("numpy.ndarray.flat", "through a mask", writes(lambda y, x: y.flat.__setitem__(y.flat > 1, x[0, 0])),
         (positive(3, 4),)),
    Form("numpy.nan_to_num", "a part in place", writes(lambda y, x: np.nan_to_num(y[1:], copy=False)), (X,)),
]  # fmt: skip
