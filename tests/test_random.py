"""Random numbers: their distributions, streams and gradients, and the same bits however often they are drawn."""

import pickle
import threading

import numpy as np
import pytest
from scipy import special, stats

import retape as rt
from retape.runtime import random
from retape.runtime.streams import Journal, Rehearsal, Stream

COUNT = 40_000
DISTRIBUTIONS = {
    "normal": (lambda g, **k: g.normal(1.0, 2.0, **k), stats.norm(1.0, 2.0)),
    "standard_normal": (lambda g, **k: g.standard_normal(**k), stats.norm()),
    "uniform": (lambda g, **k: g.uniform(-1.0, 2.0, **k), stats.uniform(-1.0, 3.0)),
    "random": (lambda g, **k: g.random(**k), stats.uniform()),
    "exponential": (lambda g, **k: g.exponential(3.0, **k), stats.expon(scale=3.0)),
    "gumbel": (lambda g, **k: g.gumbel(1.0, 2.0, **k), stats.gumbel_r(1.0, 2.0)),
    "laplace": (lambda g, **k: g.laplace(1.0, 2.0, **k), stats.laplace(1.0, 2.0)),
    "logistic": (lambda g, **k: g.logistic(1.0, 2.0, **k), stats.logistic(1.0, 2.0)),
    "gamma, small shape": (lambda g, **k: g.gamma(0.3, 2.0, **k), stats.gamma(0.3, scale=2.0)),
    "gamma, large shape": (lambda g, **k: g.gamma(30.0, **k), stats.gamma(30.0)),
    "truncated both sides": (lambda g, **k: g.truncated_normal(-1.0, 2.5, **k), stats.truncnorm(-1.0, 2.5)),
    "truncated to little": (lambda g, **k: g.truncated_normal(-0.2, 0.3, **k), stats.truncnorm(-0.2, 0.3)),
    "truncated to a tail": (lambda g, **k: g.truncated_normal(4.0, np.inf, **k), stats.truncnorm(4.0, np.inf)),
    "truncated to a piece of a tail": (lambda g, **k: g.truncated_normal(-3.1, -3.0, **k), stats.truncnorm(-3.1, -3.0)),
    "truncated on the left": (lambda g, **k: g.truncated_normal(-np.inf, -2.0, **k), stats.truncnorm(-np.inf, -2.0)),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_draws_follow_their_distribution(name, dtype):
    draw, law = DISTRIBUTIONS[name]
    x = draw(random.Generator(3), size=COUNT, dtype=dtype)
    assert x.dtype == dtype and x.shape == (COUNT,) and np.all(np.isfinite(x))
    assert stats.kstest(x.astype(float), law.cdf).pvalue > 1e-3
    deviation = law.std() / np.sqrt(COUNT)
    assert abs(x.astype(float).mean() - law.mean()) < 4 * deviation
    error_of_variance = law.var() * np.sqrt((float(law.stats("k")) + 2) / COUNT)
    assert abs(x.astype(float).var() - law.var()) < 5 * error_of_variance


def test_truths_and_categories_come_as_often_as_their_probabilities_say():
    generator = random.Generator(1)
    assert abs(generator.bernoulli(0.3, size=COUNT).mean() - 0.3) < 0.01
    columns = generator.bernoulli(np.array([0.0, 0.25, 1.0]), size=(COUNT, 3)).mean(axis=0)
    np.testing.assert_allclose(columns, [0, 0.25, 1], atol=0.01)
    logits = np.log([[0.1, 0.2, 0.7], [0.5, 0.0, 0.5]], where=[[True] * 3, [True, False, True]], out=np.full((2, 3), -np.inf))
    drawn = generator.categorical(logits, size=(COUNT, 2))
    for row in range(2):
        np.testing.assert_allclose(np.bincount(drawn[:, row], minlength=3) / COUNT, np.exp(logits[row]), atol=0.01)
    one = generator.categorical(logits[0] + 100, size=COUNT)
    np.testing.assert_allclose(np.bincount(one, minlength=3) / COUNT, np.exp(logits[0]), atol=0.01)
    assert generator.categorical(logits.T, axis=0).shape == (2,)
    drawn = generator.choice(3, COUNT, p=[0.1, 0.2, 0.7])
    np.testing.assert_allclose(np.bincount(drawn) / COUNT, [0.1, 0.2, 0.7], atol=0.01)
    assert set(generator.integers(2, 5, 1000).tolist()) == {2, 3, 4}
    assert set(generator.integers(3, size=1000, endpoint=True).tolist()) == {0, 1, 2, 3}


def test_a_permutation_is_one():
    generator = random.Generator(1)
    assert sorted(generator.permutation(100).tolist()) == list(range(100))
    x = np.arange(12).reshape(4, 3)
    rows, columns = generator.permutation(x), generator.permutation(x, axis=1)
    assert sorted(rows.tolist()) == x.tolist()
    assert sorted(columns.T.tolist()) == x.T.tolist()
    assert len(set(generator.choice(50, 50, replace=False).tolist())) == 50


def test_dropout_keeps_the_mean_and_scales_what_it_keeps():
    x = np.full(COUNT, 3.0, np.float32)
    y = random.Generator(2).dropout(x, 0.25)
    assert y.dtype == np.float32
    np.testing.assert_allclose(np.unique(y), [0, 4])
    assert abs((y == 0).mean() - 0.25) < 0.01


def test_dropout_makes_zeros_of_infinities_and_meets_no_zero_cotangent_with_them():
    x = np.full(100, np.inf)
    y = random.Generator(2).dropout(x, 0.5)
    assert set(np.unique(y).tolist()) == {0.0, np.inf}
    gradient = rt.grad(lambda x: np.sum(random.Generator(2).dropout(x, 0.5)))(x)
    assert set(np.unique(gradient).tolist()) == {0.0, 2.0}
    assert np.all(random.Generator(2).dropout(x, 1.0) == 0)


def test_a_generator_gives_the_same_bits_recorded_or_not_in_any_thread():
    def draws():
        generator = random.Generator((4, 2))
        return [
            generator.normal(size=5),
            generator.gamma(2.0, size=3),
            generator.dropout(np.ones(9)),
            generator.permutation(7),
        ]

    plain = draws()
    inside = []
    rt.grad(lambda x: (inside.extend(map(np.asarray, draws())), x * 1.0)[1])(1.0)
    thread = threading.Thread(target=lambda: inside.extend(draws()))
    thread.start()
    thread.join()
    for n, drawn in enumerate(inside):
        np.testing.assert_array_equal(drawn, plain[n % 4])


def test_the_stream_is_that_of_philox_at_the_draws_own_counters():
    generator = random.Generator(7)
    generator.normal()
    state = generator.state
    key = np.array([state["key_low"], state["key_high"]], np.uint64)
    counter = np.array([0, 0, state["counter_low"], state["counter_high"]], np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key, counter=counter)).standard_normal(10)
    np.testing.assert_array_equal(generator.normal(size=10), expected)
    generator.state = state
    np.testing.assert_array_equal(generator.numpy_generator().standard_normal(10), expected)


def test_draws_do_not_overlap():
    generator = random.Generator(0)
    seen = np.concatenate([generator.random(size=500) for _ in range(20)])
    assert np.unique(seen).size == seen.size
    first = random.Generator(0).random(size=20_000)
    assert not np.isin(random.Generator(1).random(size=20_000), first).any()


def test_the_counter_goes_on_after_two_to_the_64_and_begins_again_after_two_to_the_128():
    generator = random.Generator(0)
    start = generator.state
    zeroth = generator.normal(size=4)
    generator.state = {**start, "counter_low": 2**64 - 1}
    last = generator.normal(size=4)
    assert (generator.state["counter_low"], generator.state["counter_high"]) == (0, 1)
    after = generator.normal(size=4)
    assert not np.array_equal(after, zeroth) and not np.array_equal(after, last)
    generator.state = {**start, "counter_low": 2**64 - 1, "counter_high": 2**64 - 1}
    generator.normal()
    np.testing.assert_array_equal(generator.normal(size=4), zeroth)


def test_a_state_is_a_dict_of_small_integers_that_brings_the_stream_back():
    generator = random.Generator(0)
    generator.normal()
    state = generator.state
    assert all(type(word) is int and 0 <= word < 2**64 for word in state.values())
    expected = generator.normal(size=3)
    other = random.Generator(99)
    other.state = state
    np.testing.assert_array_equal(other.normal(size=3), expected)
    other.state = state
    copy = pickle.loads(pickle.dumps(other))
    np.testing.assert_array_equal(copy.normal(size=3), expected)
    for bad in ({}, {**state, "more": 1}, {**state, "key_low": -1}, {**state, "key_low": 2**64}, {**state, "key_low": "1"}):
        with pytest.raises(ValueError, match="key_low, key_high, counter_low, counter_high"):
            other.state = bad


def test_the_modules_functions_share_a_generator_that_can_be_seeded():
    random.seed(5)
    state = random.get_state()
    first = random.normal(size=3), random.dropout(np.ones(5)), random.integers(10, size=4)
    random.set_state(state)
    again = random.normal(size=3), random.dropout(np.ones(5)), random.integers(10, size=4)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first[0], random.Generator(5).normal(size=3))


def test_spawned_generators_draw_the_same_on_any_number_of_threads():
    def work(generators, threads):
        found = [None] * len(generators)

        def run(mine):
            for k in range(mine, len(generators), threads):
                found[k] = rt.grad(lambda x, g=generators[k]: np.sum(g.dropout(x) * g.normal(size=50)))(np.ones(50))

        workers = [threading.Thread(target=run, args=(n,)) for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return np.stack(found)

    one, three = (work(random.Generator(3).spawn(8), threads) for threads in (1, 3))
    np.testing.assert_array_equal(one, three)
    assert np.unique(one[:, :].round(12), axis=0).shape[0] == 8


def test_threads_that_share_a_stream_never_get_the_same_number():
    stream = Stream(1)
    taken = []
    threads = [threading.Thread(target=lambda: taken.extend(stream.advance() for _ in range(2000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 8000


def program(generator, layers=8):
    def f(x, scale):
        for _ in range(layers):
            x = generator.dropout(np.tanh(x) * 2, 0.3)
        return np.sum((x + generator.normal(0.0, scale, size=x.shape)) ** 2)

    return f


def test_a_budget_changes_no_bit_of_a_program_with_dropout_and_noise_at_any_sight():
    x, scale = random.Generator(0).normal(size=(300, 200)), np.full(200, 0.5)
    generator = random.Generator(8)
    budgeted = rt.value_and_grad(program(generator), (0, 1), memory_budget="3.5MiB")
    values = set()
    planners = []
    for _ in range(4):
        state = generator.state
        value, gradients = budgeted(x, scale)
        after = generator.state
        report = budgeted.report
        assert report.peak_bytes <= report.projected_bytes <= report.budget_bytes and report.extra_work > 0
        planners.append(report.planner)
        generator.state = state
        expected, plain = rt.value_and_grad(program(generator), (0, 1))(x, scale)
        assert value == expected and generator.state == after
        for a, b in zip(gradients, plain, strict=True):
            np.testing.assert_array_equal(a, b)
        values.add(float(value))
    assert len(values) == 4, "every call draws new numbers"
    assert planners[0] == "online" and "online" not in planners[1:], "new numbers leave the program the same to a plan"


def test_a_dropout_mask_takes_no_memory():
    # x, the gradient and one array between: a kept mask of any form would not fit.
    x = np.ones(500_000)
    budget = 2 * x.nbytes + 500_000
    gradient = rt.grad(lambda x: np.sum(random.Generator(1).dropout(x)), memory_budget=budget)
    np.testing.assert_array_equal(gradient(x), random.Generator(1).dropout(x))
    assert gradient.report.peak_bytes <= budget and gradient.report.extra_work == 0


def noisy(generator):
    def f(x):
        for _ in range(10):
            x = np.where(generator.bernoulli(0.8, x.shape), np.tanh(x), x) * generator.normal(1.0, 0.1, size=x.shape)
        return np.sum(x**2)

    return f


def test_noise_that_meets_no_traced_argument_is_dropped_and_drawn_again():
    x = np.linspace(-1, 1, 50_000)
    held = 10 * x.nbytes  # what the noise alone would take
    budgeted = rt.grad(noisy(random.Generator(1)), memory_budget=held)
    again = random.Generator(1)
    for _ in range(3):
        np.testing.assert_array_equal(budgeted(x), rt.grad(noisy(again))(x))
        assert budgeted.report.peak_bytes <= held and budgeted.report.extra_work > 0
    checkpointed = rt.grad(rt.checkpoint(noisy(random.Generator(2))))(x)
    np.testing.assert_array_equal(checkpointed, rt.grad(noisy(random.Generator(2)))(x))


def test_forward_mode_and_nested_transforms_draw_the_same_numbers():
    x, direction = np.linspace(-1, 1, 40), np.cos(np.arange(40.0))
    tangent = rt.jvp(noisy(random.Generator(1)), (x,), (direction,))[1]
    np.testing.assert_allclose(tangent, rt.grad(noisy(random.Generator(1)))(x) @ direction, rtol=1e-10)

    def penalised(x):
        return np.sum(rt.grad(noisy(random.Generator(1)))(x) ** 2)

    plain = rt.grad(penalised)(x)
    np.testing.assert_array_equal(rt.grad(penalised, memory_budget="1MiB")(x), plain)
    step = 1e-6 * direction
    np.testing.assert_allclose(plain @ direction, (penalised(x + step) - penalised(x - step)) / 2e-6, rtol=1e-6)


def test_a_recorded_draw_can_be_used_where_python_wants_numbers():
    data = np.arange(12.0).reshape(4, 3)

    def f(x):
        generator = random.Generator(3)
        mask, noise = generator.bernoulli(0.5, 4), generator.normal(size=3)
        plain = np.zeros(3)
        plain[:] = noise
        noise[0] = x[0]
        rows = data[mask].sum() + x[generator.bernoulli(0.5, 3)].sum()
        bias = float(generator.normal()) if generator.uniform() < 2 else 0.0
        return np.sum(noise * x) + rows + plain[1] * x[1] + bias + data[generator.permutation(4)[0], 1] * x[2]

    x = np.array([1.0, 2.0, 3.0])
    plain = rt.grad(f)(x)
    np.testing.assert_allclose(rt.value_and_grad(f)(x)[0], f(x), rtol=1e-14)
    for _ in range(2):
        np.testing.assert_array_equal(rt.grad(f, memory_budget="1MiB")(x), plain)
    rt.check_grads(f, x)


def test_a_checkpointed_function_draws_the_same_in_its_second_run():
    x, scale = random.Generator(0).normal(size=(30, 20)), np.full(20, 0.5)
    plain = rt.grad(program(random.Generator(1)), (0, 1))(x, scale)
    again = rt.grad(rt.checkpoint(program(random.Generator(1))), (0, 1))(x, scale)
    for a, b in zip(plain, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_plan_of_a_random_program_needs_no_values():
    plan = rt.plan(program(random.Generator(1)), np.ones((300, 200)), np.full(200, 0.5), memory_budget="3.5MiB")
    assert plan.projected_peak_bytes <= 3.5 * 2**20


def test_a_journal_gives_every_run_the_numbers_of_the_first_and_goes_on_after_them():
    generator, other = random.Generator(0), random.Generator(1)
    expected = [random.Generator(0).state, [g.normal() for g in [random.Generator(0)] for _ in range(4)]][1]
    journal = Journal()
    with journal:
        first = [generator.normal(), generator.normal(), other.random()]
    meanwhile = generator.normal()
    with journal:
        second = [generator.normal(), generator.normal(), other.random(), generator.normal()]
    with journal, Journal():
        third = [generator.normal(), generator.normal(), other.random(), generator.normal()]
    assert first == second[:3] and second == third
    assert [*first[:2], meanwhile, second[3]] == expected


def test_a_journal_follows_a_program_that_seeds_its_stream_or_spawns():
    generator = random.Generator(0)

    def run():
        generator.seed(7)
        drawn = [generator.normal(), generator.spawn(2)[1].normal()]
        return drawn, generator.normal()

    expected, after = run(), generator.normal()
    journal = Journal()
    for _ in range(3):
        with journal:
            assert run() == expected
    assert generator.normal() == after


def test_a_rehearsal_moves_no_stream():
    generator = random.Generator(0)
    state = generator.state
    with Rehearsal():
        with Journal():
            drawn = [generator.normal(), generator.normal()]
    assert generator.state == state
    assert drawn == [generator.normal(), generator.normal()]


@pytest.mark.parametrize("a", [0.05, 0.7, 4.0, 80.0, 990.0, 1010.0, 1e5])
def test_the_slope_of_a_gamma_draw_is_that_of_its_quantile(a):
    generator = random.Generator(2)
    z = generator.gamma(a, size=300)
    slope = rt.grad(lambda c: np.sum(_at_state(generator, {**generator.state, "counter_low": 0}).gamma(c)))(np.full(300, a))
    p, h = special.gammainc(a, z), 1e-4 * a
    inner = (p > 1e-3) & (p < 0.999)
    by_difference = (special.gammaincinv(a + h, p) - special.gammaincinv(a - h, p)) / (2 * h)
    np.testing.assert_allclose(slope[inner], by_difference[inner], rtol=1e-4)


def _at_state(generator, state):
    made = random.Generator(0)
    made.state = state
    return made


def test_the_gradient_of_a_mean_over_gamma_draws_is_that_of_the_mean():
    a = np.full(COUNT, 2.5)
    square = rt.grad(lambda a: np.mean(random.Generator(1).gamma(a) ** 2))(a).sum()
    assert abs(square - (2 * 2.5 + 1)) < 0.2  # E z^2 = a^2 + a
    single = rt.grad(lambda a: np.sum(random.Generator(1).gamma(a) ** 2))(a[:5].astype(np.float32))
    assert single.dtype == np.float32 and np.all(np.isfinite(single))
    underflowed = rt.grad(lambda a: np.sum(random.Generator(1).gamma(a)))(np.full(200, 1e-4))
    assert np.all(np.isfinite(underflowed))


def test_gradients_by_the_concentration_of_a_gamma_draw_are_of_first_order_only():
    def f(a):
        return np.sum(random.Generator(1).gamma(a) ** 2)

    with pytest.raises(rt.MissingRuleError, match="first derivative"):
        rt.grad(lambda a: np.sum(rt.grad(f)(a)))(np.ones(3))


def test_float32_locations_draw_float32_and_float16_stays_itself():
    for name in ("normal", "gumbel", "laplace", "logistic"):
        draw = getattr(random.Generator(1), name)
        assert draw(np.zeros(3, np.float32)).dtype == np.float32
        assert draw(np.float32(1.0), np.ones(3, np.float32), size=(2, 3)).dtype == np.float32
        assert draw(np.zeros(3, np.float16)).dtype == np.float16
        assert draw(np.zeros(3), dtype=np.float32).dtype == np.float32
        assert draw([0, 1]).dtype == np.float64
        loc, scale = np.zeros(3, np.float32), np.ones(3, np.float32)
        gradients = rt.grad(lambda m, s, draw=draw: np.sum(draw(m, s, dtype=np.float64)), (0, 1))(loc, scale)
        assert [g.dtype for g in gradients] == [np.float32] * 2
    assert type(random.Generator(1).normal()) is np.float64


def test_what_would_lose_a_gradient_raises_and_names_cures():
    generator = random.Generator(1)
    p = np.array([0.2, 0.8])
    cases = {
        "relax it": [
            lambda p: generator.bernoulli(p),
            lambda p: generator.choice(2, p=p),
            lambda p: generator.categorical(np.log(p)),
        ],
        "smooth mask": [lambda p: generator.dropout(p, p[0])],
        "stop_gradient": [
            lambda p: generator.truncated_normal(p[0], 2.0),
            lambda p: generator.integers(p[1]),
            lambda p: generator.bernoulli(p),
        ],
    }
    for cure, programs in cases.items():
        for f in programs:
            with pytest.raises(rt.NotDifferentiableError, match=cure):
                rt.grad(lambda p, f=f: np.sum(p * f(p)))(p)
    # An array that is a constant to the inner derivative, and not to the outer one.
    with pytest.raises(rt.NotDifferentiableError):
        rt.grad(lambda p: rt.grad(lambda q: np.sum(q * generator.bernoulli(rt.stop_gradient(q) * 0 + p)))(p).sum())(p)


def test_probabilities_cut_off_from_their_gradient_are_drawn_from_within_a_budget_too():
    def f(p):
        generator = random.Generator(1)
        constant = rt.stop_gradient(p)
        rate = rt.stop_gradient(p[0])
        drawn = [generator.bernoulli(constant), generator.choice(2, 4, p=constant), generator.categorical(np.log(constant))]
        return np.sum(generator.dropout(p, rate)) + sum(np.sum(p * np.sum(y)) for y in drawn)

    p = np.array([0.2, 0.8])
    plain = rt.grad(f)(p)
    for _ in range(2):
        np.testing.assert_array_equal(rt.grad(f, memory_budget="1MiB")(p), plain)


def test_wrong_arguments_raise_as_numpy_does():
    generator = random.Generator(1)
    numpy = np.random.default_rng(1)
    for wrong in (
        lambda g: g.normal(0.0, -1.0),
        lambda g: g.normal(size=-1),
        lambda g: g.normal(np.zeros(3), size=2),
        lambda g: g.normal(np.zeros(3), np.ones(2)),
        lambda g: g.uniform(2.0, 1.0),
        lambda g: g.uniform(0.0, np.inf),
        lambda g: g.gamma(-1.0),
        lambda g: g.integers(5, 2),
        lambda g: g.choice(3, 5, replace=False),
        lambda g: g.choice(3, p=[0.5, 0.1, 0.1]),
        lambda g: g.normal(1j),
    ):
        with pytest.raises(Exception) as expected:  # noqa: B017
            wrong(numpy)
        with pytest.raises(expected.type):
            wrong(generator)
    with pytest.raises(ValueError, match="probability|p < 0"):
        generator.bernoulli(1.5)
    with pytest.raises(ValueError, match="rate"):
        generator.dropout(np.ones(3), 1.5)
    with pytest.raises(ValueError, match="lower < upper"):
        generator.truncated_normal(2.0, 1.0)
    with pytest.raises(ValueError, match="logits"):
        generator.categorical([np.nan, 1.0])
    with pytest.raises(TypeError, match="dtype"):
        generator.normal(dtype=np.int64)
