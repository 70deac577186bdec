"""What a program does can be seen: its listing, its graph, where its time and memory go, and which op made a NaN."""

import os
import stat

import numpy as np
import pytest

import retape as rt
from retape.runtime import text, trees

GENERATOR = np.random.default_rng(0)
W = GENERATOR.standard_normal((20, 20)) / 4
X = GENERATOR.standard_normal((30, 20))


def layer(h, w):
    return np.tanh(h @ w)


def loop(w, x):
    h = x
    for _ in range(3):
        h = layer(h, w)
        if h.sum() > 1e6:
            h = h * 0.5
        h[:, 0] = 0.0
    return np.mean(h * h)


def writes(x):
    u = rt.numpy.zeros(500)
    for t in range(100):
        u[t] = np.sin(x[t])
    return np.sum(u * u)


def root(x):
    h = np.sqrt(x)
    return np.sum(h * 3.0)


def slope(x):
    return np.sum(rt.grad(root)(x) ** 2)


def row(explanation, name):
    return next(row for row in explanation.rows if row.name == name)


# explain


def test_an_explanation_counts_calls_and_bytes_op_by_op():
    found = rt.explain(loop, W, X, rounds=1)
    assert {r.name: r.calls for r in found.rows} == {
        "matmul": 3, "tanh": 3, "setitem": 3, "sum": 4, "greater": 3, "multiply": 1, "divide": 1
    }  # fmt: skip
    size = X.nbytes
    assert (row(found, "matmul").output_bytes, row(found, "matmul").residual_bytes) == (3 * size, 0)
    assert (row(found, "tanh").output_bytes, row(found, "tanh").residual_bytes) == (3 * size, 3 * size)
    assert found.calls == 18 and found.has_reverse
    assert found.residual_bytes >= 3 * size and found.record_bytes > 0
    assert found.captured_bytes >= size  # the batch


def test_the_rows_of_an_explanation_add_up_and_stand_by_time():
    for by in ("op", "line"):
        found = rt.explain(loop, W, X, by=by, rounds=3)
        assert [r.seconds for r in found.rows] == sorted((r.seconds for r in found.rows), reverse=True)
        assert sum(r.share for r in found.rows) == pytest.approx(1.0)
        assert sum(r.seconds for r in found.rows) > 0 and found.whole_seconds > 0
        assert row(found, found.rows[0].name).reverse_seconds > 0


def test_an_explanation_by_line_names_the_users_lines_with_their_text():
    found = rt.explain(loop, W, X, by="line", rounds=1)
    assert all(r.name.startswith("test_seeing.py:") for r in found.rows)
    by_text = {r.source: r for r in found.rows}
    assert by_text["return np.tanh(h @ w)"].calls == 6
    assert by_text["h[:, 0] = 0.0"].calls == 3
    assert by_text["return np.mean(h * h)"].reverse_seconds > 0


def test_an_explanation_prints_totals_the_time_outside_of_ops_and_the_heaviest_lines():
    shown = str(rt.explain(loop, W, X, rounds=2))
    assert "all 18 calls" in shown and "100.0%" in shown
    assert "A gradient takes" in shown and "median of 2 runs" in shown
    assert "of captured plain arrays" in shown
    assert "Heaviest lines:" in shown and "return np.tanh(h @ w)" in shown


def test_the_clocks_leave_writes_in_place():
    found = rt.explain(writes, X[:5].ravel(), rounds=1)
    assert row(found, "setitem").calls == 100
    assert row(found, "setitem").output_bytes <= 500 * 8


def test_what_a_checkpoint_computes_again_is_counted_as_its_reverse_sweep():
    found = rt.explain(rt.checkpoint(lambda x: np.sum(np.sin(np.sin(x)))), X, rounds=1)
    assert row(found, "checkpoint").reverse_seconds > 0
    assert found.residual_bytes == 0 and row(found, "sin").reverse_seconds == 0


def test_an_output_that_is_no_scalar_is_explained_without_a_reverse_sweep():
    found = rt.explain(np.sin, X, rounds=1)
    assert not found.has_reverse and row(found, "sin").reverse_seconds == 0
    assert "The forward sweep takes" in str(found) and "no reverse sweep" in str(found)


def test_nested_transforms_are_explained_by_the_ops_that_they_run():
    found = rt.explain(slope, np.abs(X), rounds=1)
    assert row(found, "sqrt").calls == 1 and found.calls > 4
    assert all(r.reverse_seconds > 0 for r in found.rows if r.name == "sqrt")


def test_an_explanation_takes_several_arguments_auxiliary_output_and_a_constant_loss():
    found = rt.explain(lambda a, b: (np.sum(a["w"] @ b), a), {"w": W}, W, argnums=(0, 1), has_aux=True, rounds=1)
    assert row(found, "matmul").residual_bytes == 0  # both operands are the caller's
    assert rt.explain(lambda a: 1.0, W, rounds=1).rows == ()
    assert "all 0 calls" in str(rt.explain(lambda a: 1.0, W, rounds=1))


def test_a_program_that_changes_its_path_is_explained_as_such():
    paths = iter(range(100))

    def f(x):
        for _ in range(next(paths)):
            x = np.sin(x)
        return np.sum(x)

    assert row(rt.explain(f, X, rounds=1), "another path").reverse_seconds > 0


def test_an_explanation_refuses_what_it_cannot_group_by():
    with pytest.raises(ValueError, match="'op', 'line'"):
        rt.explain(loop, W, X, by="file")
    with pytest.raises(ValueError, match="rounds=0"):
        rt.explain(loop, W, X, rounds=0)


def test_arrays_are_writable_after_an_explanation():
    x = X.copy()
    rt.explain(loop, W, x, rounds=1)
    x[0] = 0.0


# check_finite

BAD = np.array([4.0, 1.0, 0.0])


def masked(x):
    return np.sum(np.where(x > 0, np.log(x), 0.0))


def minus_infinity_before_softmax(x):
    return np.sum(rt.softmax(x + np.array([0.0, -np.inf, 0.0])))


def inverse_in_a_loop(x):
    y = rt.numpy.zeros(3)
    for k in range(3):
        y[k] = 1.0 / x[k]
    return np.sum(y) if y.sum() > 0 else y[0]


def directional(x):
    return rt.jvp(root, (x,), (np.ones(3),))[1]


def directional_gradient(x):
    def f(y):
        return np.sum(np.cumsum(y) ** 1.5)

    return rt.jvp(rt.grad(f), (x,), (np.ones(3),))


# a program, the op that spoils it, the sweep, whose rule it is, and the text of the user's line
SPOILT = [
    (root, "sqrt", "forward", None, "h = np.sqrt(x)", BAD - 1),
    (rt.value_and_grad(root), None, "reverse", "sqrt", "h = np.sqrt(x)", BAD),
    (rt.value_and_grad(root, memory_budget="1MiB"), None, "reverse", "sqrt", "h = np.sqrt(x)", BAD),
    (rt.grad(rt.checkpoint(root)), None, "reverse", "sqrt", "h = np.sqrt(x)", BAD),
    (slope, None, "reverse", "sqrt", "h = np.sqrt(x)", BAD),
    (rt.grad(slope), None, "reverse", "sqrt", "h = np.sqrt(x)", BAD),
    (rt.hessian(root), None, "reverse", "sqrt", "h = np.sqrt(x)", BAD),
    (directional, None, "tangent", "sqrt", "h = np.sqrt(x)", BAD),
    (directional_gradient, None, "tangent", None, "return np.sum(np.cumsum(y) ** 1.5)", BAD[::-1]),
    (inverse_in_a_loop, "divide", "forward", None, "y[k] = 1.0 / x[k]", BAD),
    (rt.grad(inverse_in_a_loop), "divide", "forward", None, "y[k] = 1.0 / x[k]", BAD),
    (lambda x: x.astype(np.float16), "astype", "forward", None, None, BAD * 1e6),
    (lambda x: {"a": [x, np.log(x + 0j)]}, "log", "forward", None, None, BAD),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(SPOILT)))
def test_the_op_that_spoilt_a_result_is_named_with_its_sweep_and_the_users_line(case):
    f, op, sweep, rule_of, line, x = SPOILT[case]
    with np.errstate(all="ignore"), pytest.raises(rt.NonfiniteError) as caught:
        rt.check_finite(f, x)
    error = caught.value
    assert op is None or error.op == op
    assert error.sweep == sweep and (rule_of is None or error.rule_of == rule_of)
    assert error.filename.endswith("test_seeing.py") and error.line_number > 0
    assert line is None or error.source == line
    assert error.output.nonfinite > 0 and all(content.nonfinite == 0 for content in error.inputs)
    assert "result" in str(error) and "test_seeing.py" in str(error)


@pytest.mark.parametrize("f", [masked, minus_infinity_before_softmax, rt.grad(masked), lambda x: (x, rt.hessian(masked)(x))])
def test_what_a_program_masks_is_no_fault_and_its_result_comes_back_bit_for_bit(f):
    with np.errstate(all="ignore"):
        found, expected = trees.flatten(rt.check_finite(f, BAD))[0], trees.flatten(f(BAD))[0]
    for a, b in zip(found, expected, strict=True):
        assert type(a) is type(b) and a.tobytes() == b.tobytes()


def test_the_first_op_that_makes_an_infinity_is_named_when_asked_for_even_if_it_is_masked():
    with np.errstate(all="ignore"), pytest.raises(rt.NonfiniteError, match="^log made 1 inf") as caught:
        rt.check_finite(masked, BAD, anywhere=True)
    assert caught.value.output.first == (2,)


def test_the_way_from_an_infinity_to_a_nan_is_told():
    def f(x):
        entropy = np.log(x)
        return np.sum(entropy * x)

    with np.errstate(all="ignore"), pytest.raises(rt.NonfiniteError) as caught:
        rt.check_finite(f, BAD)
    error = caught.value
    assert [finding.op for finding in error.findings] == ["log", "multiply"]
    assert error.op == "log" and error.source == "entropy = np.log(x)"
    said = str(error)
    assert said.startswith("result holds 1 nan: log made 1 inf in f8[3], the first at [2]")
    assert "x: f8[3], 0 to 4" in said
    assert "then multiply made 1 nan" in said and "return np.sum(entropy * x)" in said


def test_bad_arguments_and_constants_are_named_as_such():
    with pytest.raises(rt.NonfiniteError, match=r"argument 0\['w'\]\[1\] itself holds 3 nan") as caught:
        rt.check_finite(lambda p: np.sum(p["w"][1] * 2), {"w": [BAD, BAD * np.nan]})
    assert caught.value.op is None and caught.value.findings[0].kind == "argument"
    with pytest.raises(rt.NonfiniteError, match=r"argument \['scale'\] itself holds 1 inf"):
        rt.check_finite(lambda x, scale: x * scale, BAD + 1, scale=np.inf)
    with pytest.raises(rt.NonfiniteError, match="a constant that multiply reads holds 1 nan"):
        rt.check_finite(lambda x: np.sum(x * np.array([1.0, np.nan, 1.0])), BAD)


def test_an_op_that_chokes_on_bad_numbers_gives_way_to_the_one_that_made_them():
    def f(x):
        return np.linalg.eigvals(np.outer(x, x) / x)

    with np.errstate(all="ignore"), pytest.raises(rt.NonfiniteError, match="LinAlgError") as caught:
        rt.check_finite(f, BAD)
    assert caught.value.op == "divide"


def test_errors_of_the_program_are_its_own():
    def f(x):
        return np.where(x > 0, np.log(x), 0.0) @ np.ones(7)

    with np.errstate(all="ignore"), pytest.raises(ValueError) as caught:
        rt.check_finite(f, BAD)
    assert not isinstance(caught.value, rt.TapeError)


def test_what_plain_numpy_spoils_is_never_passed_over():
    with np.errstate(all="ignore"), pytest.raises(rt.NonfiniteError, match="plain NumPy did"):
        rt.check_finite(lambda x: np.log(np.array(x.tolist())), BAD)


def test_a_search_needs_something_to_follow():
    with pytest.raises(rt.InputError, match="no floating-point arrays"):
        rt.check_finite(lambda n: n / 2, 3)


def test_a_program_may_read_and_branch_during_a_search():
    assert rt.check_finite(lambda x: float(x[0]) if x[0] > 2 else x, BAD) == 4.0


def test_parameters_ranges_and_indices_are_told():
    def f(x):
        return np.sum(np.log(x), axis=1, keepdims=True) * 1.0

    x = np.ones((2, 3))
    x[1, 2] = -1.0
    with np.errstate(all="ignore"), pytest.raises(rt.NonfiniteError) as caught:
        rt.check_finite(f, x)
    content = caught.value.inputs[0]
    assert (content.name, content.shape, content.minimum, content.maximum) == ("x", (2, 3), -1.0, 1.0)
    assert caught.value.output.first == (1, 2) and caught.value.output.nans == 1
    with np.errstate(all="ignore"), pytest.raises(rt.NonfiniteError, match="axis=1, keepdims=True") as caught:
        rt.check_finite(lambda x: np.sum(x, axis=1, keepdims=True), np.full((2, 3), 1e308))
    assert caught.value.op == "sum" and caught.value.parameters == {"axis": 1, "keepdims": True}


# graph


def test_a_graph_tells_inputs_constants_views_and_outputs_apart():
    shown = str(rt.graph(lambda w, x: np.sum((x @ w["w"]).T + np.ones(30)) * 2.0, {"w": W}, X))
    assert shown.startswith("digraph tape {") and shown.endswith("}\n") and shown.count("{") == shown.count("}")
    assert "w['w']\\nf8[20, 20], 3.1 KiB" in shown and "x\\nf8[30, 20]" in shown
    assert "transpose(axes=(1, 0))\\nf8[20, 30], view" in shown and "dashed" in shown
    assert "constant\\nf8[30], 240 B" in shown and "multiply(_, 2.0)" in shown
    assert '[label="output"' in shown and "test_seeing.py:" in shown


def test_a_graph_escapes_what_graphviz_would_misread():
    shown = str(rt.graph(lambda p: np.sin(p['a "b" \\c']), {'a "b" \\c': X}))
    assert r"a \"b\" \\\\c" in shown


def test_a_graph_frames_what_a_function_does():
    shown = str(rt.graph(loop, W, X, by_function=True))
    assert shown.count("subgraph cluster_") == 2
    assert 'label="layer, test_seeing.py:' in shown and 'label="loop, test_seeing.py:' in shown


def test_a_tape_that_is_there_can_be_drawn():
    tape = rt.record(lambda a, b: (a * b, a), 2.0, 3.0)
    shown = str(rt.graph(tape))
    assert "input 1" in shown and "output 0" in shown and "output 1" in shown


def test_a_graph_is_drawn_by_graphviz_where_that_is_installed(tmp_path, monkeypatch):
    drawn = rt.graph(np.sin, X)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="install graphviz"):
        drawn.svg()
    assert drawn._repr_svg_() is None
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\nexec /bin/cat\n")
    os.chmod(program, program.stat().st_mode | stat.S_IXUSR)
    assert drawn.svg(tmp_path / "graph.svg") == str(drawn) == (tmp_path / "graph.svg").read_text() == drawn._repr_svg_()


# listing


def test_a_listing_shows_constants_slices_and_the_users_source_once_a_line():
    def f(x):
        y = np.sin(x[1:, ::2]) * 2.0
        return np.sum(y + np.ones((2, 2)))

    lines = str(rt.record(f, np.ones((3, 4)))).splitlines()
    number = f.__code__.co_firstlineno + 1
    assert [" ".join(line.split()) for line in lines] == [
        "v0 = input() # f8[3, 4] 96 B",
        f"v1 = getitem(v0, index=(1:, ::2)) # f8[2, 2] view test_seeing.py:{number} y = np.sin(x[1:, ::2]) * 2.0",
        "v2 = sin(v1) # f8[2, 2] 32 B",
        "v4 = multiply(v2, 2.0) # f8[2, 2] 32 B",
        "c5 = constant(array([[1., 1.], [1., 1.]])) # f8[2, 2] 32 B",
        f"v6 = add(v4, c5) # f8[2, 2] 32 B test_seeing.py:{number + 1} return np.sum(y + np.ones((2, 2)))",
        "v7 = sum(v6, axis=None, keepdims=False) # f8[] 8 B",
        "return v7",
    ]
    assert len({line.index("#") for line in lines[:-1]}) == 1


def test_a_long_listing_counts_the_calls_in_its_middle():
    def f(x):
        for _ in range(1000):
            x = np.sin(x)
        return x

    tape = rt.record(f, 1.0)
    assert "... 800 calls more" in str(tape) and len(str(tape).splitlines()) == 203
    assert len(tape.listing().splitlines()) == 1002
    assert len(tape.listing(most_calls=8).splitlines()) == 11


def test_texts_of_sizes_and_times_are_short():
    assert [text.format_seconds(s) for s in (0, 3e-8, 2e-6, 0.5, 100)] == ["0", "30 ns", "2.0 us", "500.0 ms", "100.0 s"]
    assert text.shortened("a  b\nc", 10) == "a b c"
