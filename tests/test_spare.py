"""Plain arrays that a traced result is written into: it stands in for one that nothing else refers to, and for no other."""

import functools

import numpy as np
import pytest

import retape as rt

X = np.array([0.9, 1.4, 1.3, 0.7])


class Running:
    def __init__(self):
        self.total = np.zeros(4)

    def add(self, x):
        self.total += x * x
        return self.total


def added(x):
    total = np.zeros(4)
    for power in range(3):
        total += x**power
    total /= 2.0
    return total


def written_after(x):
    table = np.zeros((3, 4))
    table += x
    table[0] = 2 * x
    table[1:, 2] *= x[0]
    return table


def of_every_kind(x):
    z = np.ones(4)
    z *= x
    z -= 1
    z **= 2
    z @= np.outer(x, x)
    return z


def in_a_list(x):
    buffers = [np.zeros(4), np.ones(4)]
    buffers[1] *= x
    return buffers[1] * x


def seen_by_a_closure(x):
    z = np.zeros(4)

    def seen():
        return z * x

    z += x
    return seen()


def in_fortran_order(x):
    z = np.asfortranarray(np.ones((4, 4)))
    z *= np.outer(x, x + 1)
    return z.ravel(order="K")[:5]


RIGHT = {
    "a sum in a loop": added,
    "writes after it": written_after,
    "operators": of_every_kind,
    "a name that a closure reads": seen_by_a_closure,
    "an array in Fortran order": in_fortran_order,
    "a ufunc": lambda x: np.exp(x, out=np.empty(4)),
    "a ufunc that broadcasts": lambda x: np.exp(x, out=np.empty((2, 4))) * x,
    "a mask": lambda x: np.divide(1, x, out=np.ones(4), where=X > 1),
    "a matrix product": lambda x: np.matmul(np.outer(x, x), x, out=np.empty(4)),
    "a reduction": lambda x: np.sum(np.outer(x, x), axis=0, out=np.empty(4)),
    "a function": lambda x: np.concatenate([x, x * x], out=np.empty(8)) ** 2,
    "einsum": lambda x: np.einsum("i,i->i", x, x, out=np.empty(4)),
}


@pytest.mark.parametrize("f", RIGHT.values(), ids=RIGHT)
def test_a_result_stands_in_for_an_array_that_nothing_else_refers_to(f):
    rt.check_grads(f, X, order=2)
    np.testing.assert_array_equal(rt.vjp(f, X)[0], f(X))
    plain, planned = rt.grad(lambda x: np.sum(f(x))), rt.grad(lambda x: np.sum(f(x)), memory_budget="64MiB")
    np.testing.assert_array_equal(planned(X), plain(X))


def another_name(x):
    z = np.zeros(4)
    same = z
    z += x
    return same


def a_name_of_its_own(x):
    z = np.zeros(4)
    np.add(z, x, out=z)
    return z


def a_name_in_a_tuple(x):
    z = np.zeros(4)
    np.multiply(x, 2, out=(z,))
    return z


def a_tuple_with_a_name(x):
    out = (np.zeros(4),)
    np.multiply(x, 2, out=out)
    return out[0]


def by_keywords(x):
    keywords = {"out": np.zeros(4)}
    np.multiply(x, 2, **keywords)
    return keywords["out"]


def a_view(x):
    z = np.zeros(5)
    part = z[1:]
    part += x
    return z


def a_row(x):
    z = np.zeros((2, 4))
    z[0] += x
    return z


def chosen_rows(x):
    z = np.zeros((2, 4))
    z[[0]] += x
    return z


def a_loop_over_a_list(x):
    buffers = [np.zeros(4)]
    for z in buffers:
        z += x
    return buffers[0]


def a_buffer(x):
    z = np.zeros(4)
    memory = memoryview(z)  # pyright: ignore[reportArgumentType]
    z += x
    return np.sum(z) + memory[0]


def a_default(x, z=np.zeros(4)):  # noqa: B008
    z += x
    return z


def through_partial(x):
    return functools.partial(np.exp, out=np.empty(4))(x)


def an_argument_of_the_caller(x):
    z = np.zeros(4)
    a_default(x, z)
    return z


def an_attribute(x):
    return Running().add(x) * x


REFUSED = [
    an_attribute, in_a_list,
    another_name, a_name_of_its_own, a_name_in_a_tuple, a_tuple_with_a_name, by_keywords,
    a_view, a_row, chosen_rows, a_loop_over_a_list, a_buffer, a_default, through_partial,
    an_argument_of_the_caller,
]  # fmt: skip


@pytest.mark.parametrize("f", REFUSED)
def test_an_array_that_could_be_read_again_is_refused(f):
    with pytest.raises(rt.NotDifferentiableError, match=r"test_spare\.py"):
        rt.grad(lambda x: np.sum(f(x)))(X)


def test_a_dtype_that_numpy_does_not_cast_is_refused_as_by_numpy():
    def f(x):
        z = np.zeros(4, int)
        z += x
        return np.sum(z)

    with pytest.raises(TypeError, match="int64"):
        rt.grad(f)(X)


def test_the_result_has_the_dtype_of_the_array_that_it_stands_for():
    seen = []

    def f(x):
        z = np.zeros(4, np.float32)
        z += x
        seen.append(z.dtype)
        return np.sum(z * x)

    np.testing.assert_allclose(rt.grad(f)(X), 2 * X, rtol=1e-6)
    assert seen == [np.float32]
