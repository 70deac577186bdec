"""Forms of joining, splitting, repeating, rolling, inserting and deleting."""

import numpy as np

from . import Form, cplx, inside, real

X, Y, Z = real(2, 3), real(2, 3, seed=1), real(2, seed=2)


def into(shape, dtype, write):
    """A program that writes into a traced array and returns it with what the function returned."""

    def f(a, b):
        out = np.zeros_like(a, shape=shape, dtype=a.dtype if dtype is None else dtype)
        return write(a, b, out) * out

    return f


JOINS = [
    ("numpy.concatenate", "the first axis", lambda a, b: np.concatenate([a, b * b])),
    ("numpy.concatenate", "a negative axis", lambda a, b: np.concatenate((a, b * b), axis=-1)),
    ("numpy.concatenate", "flattened", lambda a, b: np.concatenate([a, b[0], 2.0], axis=None) ** 2),
    ("numpy.concatenate", "with a plain one", lambda a, b: np.concatenate([np.ones((1, 3), a.dtype), a * b])),
    ("numpy.concatenate", "with itself", lambda a, b: np.concatenate([a * b, a, a]) ** 2),
    ("numpy.concatenate", "of an array", lambda a, b: np.concatenate(np.stack([a, b])) ** 2),
    ("numpy.concatenate", "of transposes", lambda a, b: np.concatenate([a.T, b.T]).ravel("K") ** 2),
    ("numpy.concatenate", "of a transpose and another", lambda a, b: np.concatenate([a.T, b.T.copy()]).ravel("K") ** 2),
    ("numpy.concatenate", "of transposes across", lambda a, b: np.concatenate([a.T, b.T], 1).ravel("K") ** 2),
    ("numpy.concatenate", "into out", into((4, 3), None, lambda a, b, out: np.concatenate([a, b], out=out))),
    ("numpy.concat", "the second axis", lambda a, b: np.concat([a, b * a], axis=1)),
    ("numpy.stack", "in front", lambda a, b: np.stack([a, b * a])),
    ("numpy.stack", "at the end", lambda a, b: np.stack((a, b * a, a), axis=-1)),
    ("numpy.stack", "in between", lambda a, b: np.stack([a, b * a], 1)),
    ("numpy.stack", "of transposes", lambda a, b: np.stack([a.T, b.T], 1).ravel("K") ** 2),
    ("numpy.stack", "of scalars and numbers", lambda a, b: np.stack([a[0, 0], b[1, 1] ** 2, 2.0]) ** 2),
    ("numpy.stack", "into out", into((2, 2, 3), None, lambda a, b, out: np.stack([a, b], out=out))),
    ("numpy.vstack", "of matrices", lambda a, b: np.vstack([a, b * b])),
    ("numpy.vstack", "of a vector and a matrix", lambda a, b: np.vstack((a[0] ** 2, b))),
    ("numpy.hstack", "of matrices", lambda a, b: np.hstack([a, b * b])),
    ("numpy.hstack", "of vectors and a scalar", lambda a, b: np.hstack([a[0], b[0] ** 2, a[1, 1]])),
    ("numpy.dstack", "of matrices", lambda a, b: np.dstack([a, b * b])),
    ("numpy.dstack", "of vectors", lambda a, b: np.dstack((a[0], b[0] * b[0]))),
    ("numpy.column_stack", "of vectors and a matrix", lambda a, b: np.column_stack((a[:, 0] ** 2, b, a[:, 1]))),
    ("numpy.append", "flattened", lambda a, b: np.append(a, b[0]) ** 2),
    ("numpy.append", "along an axis", lambda a, b: np.append(a, b[:, :1] * a[:, :1], axis=1)),
    ("numpy.append", "to a plain array", lambda a, b: np.append(np.ones((2, 3), a.dtype), a * b)),
    ("numpy.append", "of a list of traced numbers", lambda a, b: np.append(a[0], [b[0, 0] ** 2, b[0, 1]])),
    ("numpy.block", "of four", lambda a, b: np.block([[a, b * b], [b, a]])),
    ("numpy.block", "of vectors and a scalar", lambda a, b: np.block([a[0], b[0] ** 2, b[1, 1]])),
    ("numpy.block", "of mixed dimensions", lambda a, b: np.block([[a[:, :1] ** 2, b], [np.zeros((1, 4), a.dtype)]])),
    ("numpy.block", "of one array", lambda a, b: np.block(a * b)),
    ("numpy.block", "of cubes", lambda a, b: np.block([[[a[None]]], [[b[None] ** 2]]])),
    ("numpy.insert", "a row", lambda a, b: np.insert(a, 1, b[0] ** 2, axis=0)),
    ("numpy.insert", "a column by a negative index", lambda a, b: np.insert(a, -1, b[:, 0] ** 2, axis=1)),
    ("numpy.insert", "flattened", lambda a, b: np.insert(a, 2, b[0, 0] ** 2)),
    ("numpy.insert", "several in one place", lambda a, b: np.insert(a[0], [1], b[0] ** 2)),
    ("numpy.insert", "several places", lambda a, b: np.insert(a, [0, 2, 2], b * b, axis=1)),
    ("numpy.insert", "a slice", lambda a, b: np.insert(a, slice(0, 3, 2), b[:, :2] ** 2, axis=-1)),
    ("numpy.insert", "by a mask", lambda a, b: np.insert(a, np.array([True, False, True]), b[0, 0] ** 2, axis=1)),
    ("numpy.insert", "broadcast", lambda a, b: np.insert(a, [0, 1], b[:, 0, None] ** 2, axis=1)),
    ("numpy.insert", "into a plain array", lambda a, b: np.insert(np.ones(3, a.dtype), 1, a[0, :1]) * b[0, 0]),
    ("numpy.insert", "a constant", lambda a, b: np.insert(a * b, 0, 5.0, axis=0)),
    ("numpy.insert", "a matrix in one place", lambda a, b: np.insert(a, [1], b * b, axis=1)),
    ("numpy.insert", "nothing", lambda a, b: np.insert(a * b, [], b[:, :0], axis=1)),
]  # fmt: skip

ALONE = [
    ("numpy.delete", "an index", lambda x: np.delete(x, 1, axis=1) ** 2, X),
    ("numpy.delete", "a negative index", lambda x: np.delete(x, -1, axis=0) ** 2, X),
    ("numpy.delete", "flattened", lambda x: np.delete(x, [0, 4]) ** 2, X),
    ("numpy.delete", "a slice", lambda x: np.delete(x, slice(None, None, 2), axis=-1) ** 2, X),
    ("numpy.delete", "by a mask", lambda x: np.delete(x, [True, False, True], axis=1) ** 2, X),
    ("numpy.roll", "flattened", lambda x: np.roll(x, 2) ** 2, X),
    ("numpy.roll", "an axis", lambda x: np.roll(x, -1, axis=1) ** 2, X),
    ("numpy.roll", "two axes", lambda x: np.roll(x, (1, -1), axis=(0, 1)) ** 2, X),
    ("numpy.roll", "one shift of two axes", lambda x: np.roll(x, 1, axis=[0, 1]) ** 2, X),
    ("numpy.roll", "two shifts of one axis", lambda x: np.roll(x, (1, 1), axis=1) ** 2, X),
    ("numpy.roll", "round", lambda x: np.roll(x, 6) ** 2, X),
    ("numpy.roll", "of nothing", lambda x: np.roll(x, 1, 0) ** 2, real(0, 2)),
    ("numpy.repeat", "flattened", lambda x: np.repeat(x, 2) ** 2, X),
    ("numpy.repeat", "an axis", lambda x: np.repeat(x, 3, axis=1) ** 2, X),
    ("numpy.repeat", "a negative axis", lambda x: np.repeat(x, 2, axis=-2) ** 2, X),
    ("numpy.repeat", "a count for each", lambda x: np.repeat(x, [2, 0, 1], axis=1) ** 2, X),
    ("numpy.repeat", "one count in a list", lambda x: np.repeat(x, [2], axis=0) ** 2, X),
    ("numpy.repeat", "no times", lambda x: np.repeat(x, 0, axis=0) ** 2, X),
    ("numpy.repeat", "once", lambda x: np.repeat(x, 1, axis=0) ** 2, X),
    ("numpy.repeat", "of a scalar", lambda x: np.repeat(x, 3) ** 2, real()),
    ("numpy.repeat", "complex", lambda x: np.repeat(x * x, 2), cplx(3)),
    ("numpy.tile", "a number", lambda x: np.tile(x, 2) ** 2, X),
    ("numpy.tile", "fewer than axes", lambda x: np.tile(x, (2,)) ** 2, real(2, 2, 2)),
    ("numpy.tile", "more than axes", lambda x: np.tile(x, (2, 1, 3)) ** 2, X),
    ("numpy.tile", "once", lambda x: np.tile(x, (1, 1)) ** 2, X),
    ("numpy.tile", "of one element", lambda x: np.tile(x, 3) ** 2, real(1)),
    ("numpy.tile", "no times", lambda x: np.tile(x, (0, 2)) ** 2, X),
    ("numpy.tile", "of a scalar", lambda x: np.tile(x, (2, 2)) ** 2, real()),
    ("numpy.resize", "larger", lambda x: np.resize(x, (3, 3)) ** 2, X),
    ("numpy.resize", "smaller", lambda x: np.resize(x, 4) ** 2, X),
    ("numpy.resize", "of nothing", lambda x: np.resize(x, (2, 2)) ** 2, real(0)),
    ("numpy.trim_zeros", "both ends", lambda x: np.trim_zeros(np.pad(x, (2, 1))) ** 2, inside(3)),
    ("numpy.trim_zeros", "the front", lambda x: np.trim_zeros(np.pad(x, (2, 1)), "f") ** 2, inside(3)),
    ("numpy.trim_zeros", "the back of an axis", lambda x: np.trim_zeros(np.pad(x, 1), "b", axis=-1) ** 2, inside(2, 2)),
    ("numpy.trim_zeros", "two axes", lambda x: np.trim_zeros(np.pad(x, 1)) ** 2, inside(2, 2)),
    ("numpy.trim_zeros", "all zero", lambda x: np.trim_zeros(x * 0) ** 2, real(3)),
    ("numpy.array_split", "uneven", lambda x: [p**2 for p in np.array_split(x, 3)], real(7)),
    ("numpy.array_split", "at places", lambda x: [p**2 for p in np.array_split(x, [1, 4], axis=1)], real(2, 5)),
    ("numpy.array_split", "beyond the end", lambda x: [p**2 for p in np.array_split(x, [2, 9])], real(3)),
    ("numpy.split", "even", lambda x: [p**2 for p in np.split(x, 2)], real(4)),
    ("numpy.split", "a negative axis", lambda x: [p**2 for p in np.split(x, 3, -1)], X),
    ("numpy.hsplit", "of a matrix", lambda x: [p**2 for p in np.hsplit(x, 3)], X),
    ("numpy.hsplit", "of a vector", lambda x: [p**2 for p in np.hsplit(x, [1])], real(3)),
    ("numpy.vsplit", "of a matrix", lambda x: [p**2 for p in np.vsplit(x, 2)], X),
    ("numpy.dsplit", "of a cube", lambda x: [p**2 for p in np.dsplit(x, 2)], real(2, 1, 4)),
    ("numpy.unstack", "in front", lambda x: [p**2 for p in np.unstack(x)], X),
    ("numpy.unstack", "an axis", lambda x: [p**2 for p in np.unstack(x, axis=-1)], X),
]  # fmt: skip

FORMS = [
    *(Form(covers, text, f, (X, Y)) for covers, text, f in JOINS),
    *(Form(covers, text, f, (x,)) for covers, text, f, x in ALONE),
    Form("numpy.concatenate", "of complex and real", lambda a, b: np.concatenate([a, b * b]) ** 2, (cplx(2), real(3))),
    Form("numpy.stack", "of complex and real", lambda a, b: np.stack([a, b * b]) ** 2, (cplx(3), real(3))),
    *(
        Form(f"numpy.{f.__name__}", "another dtype", lambda a, b, f=f: f([a, b * b], dtype=complex), (X, Y), float32=False)
        for f in (np.concatenate, np.stack, np.vstack, np.hstack)
    ),
    Form("numpy.concatenate", "with casting", lambda a, b: np.concatenate([a, b], dtype=np.float64, casting="unsafe") ** 2,
         (X, Y), float32=False),
    Form("numpy.concatenate", "known gradient", lambda x: np.concatenate([x, 2 * x, x[1:]]), (real(2),),
         closed=lambda x: np.array([3.0, 4.0])),
    Form("numpy.tile", "known gradient", lambda x: np.tile(x, (2, 3)), (real(2),), closed=lambda x: np.full(2, 6.0)),
    Form("numpy.repeat", "known gradient", lambda x: np.repeat(x, [1, 3]), (real(2),), closed=lambda x: np.array([1.0, 3.0])),
]  # fmt: skip
