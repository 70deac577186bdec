from dataclasses import fields

import numpy as np
import pytest

from retape.cluster.errors import ConfigError, DataError
from retape.cluster.models import BUILDERS, DEFAULTS, ModelOptions, build, transformer
from retape.cluster.models.cbow import nearest
from retape.cluster.text import read_text
from retape.cluster.words import drawn, number_words
from retape.runtime.trees import flatten, map_leaves
from retape.scheduler.gradients import value_and_grad
from retape.scheduler.planning import plan

READERS = ("transformer", "cbow")
SMALL = transformer.Config(layers=2, width=12, heads=3, context=10)


@pytest.fixture
def batch():
    return np.random.default_rng(0).integers(0, 256, (3, 11), dtype=np.uint8)


def test_an_untrained_transformer_is_as_unsure_as_a_uniform_guess(batch):
    params = transformer.init(0, config=SMALL)
    assert {leaf.dtype for leaf in flatten(params)[0]} == {np.dtype(np.float32)}
    value = transformer.loss(params, batch, config=SMALL)
    assert value.dtype == np.float32
    assert float(value) == pytest.approx(np.log(256), rel=0.02)
    bits = transformer.evaluate(params, batch, config=SMALL)["val_bits_per_byte"]
    assert bits == pytest.approx(float(value) / np.log(2))


def test_a_later_byte_does_not_change_earlier_scores(batch):
    params = transformer.init(0, config=SMALL)
    tokens = batch[:, :10].astype(np.int64)
    before = transformer.logits(params, tokens, config=SMALL)
    tokens[:, 6] = (tokens[:, 6] + 1) % 256
    after = transformer.logits(params, tokens, config=SMALL)
    np.testing.assert_array_equal(before[:, :6], after[:, :6])
    assert (before[:, 6:] != after[:, 6:]).any()


@pytest.fixture
def words(tmp_path):
    draw = np.random.default_rng(0)
    names = ["".join(letters) for letters in draw.choice(list("abcdefgh"), (60, 3))]
    (tmp_path / "words.txt").write_text(" ".join(draw.choice(names, 3000)))
    return str(tmp_path / "words.txt")


@pytest.mark.parametrize("name", BUILDERS)
def test_a_models_gradient_agrees_with_differences(words, name):
    model = build(name, ModelOptions(layers=2, width=12, heads=3, context=3, data=words if name in READERS else None))
    rng = np.random.default_rng(2)

    def moved(leaf):
        # At the biases' zeros a rectifier has no derivative.
        return leaf * 2.0 + rng.standard_normal(leaf.shape) * 0.1

    params = map_leaves(moved, model.init(1))
    batch = map_leaves(
        lambda leaf: leaf.astype(np.float64) if leaf.dtype.kind == "f" else leaf, model.train.batch(np.arange(5))
    )
    _, grads = value_and_grad(model.loss)(params, batch)
    direction = map_leaves(lambda leaf: rng.standard_normal(leaf.shape), params)
    slope = sum(float(np.sum(g * d)) for g, d in zip(flatten(grads)[0], flatten(direction)[0], strict=True))
    step = 1e-6
    ahead, behind = (map_leaves(lambda p, d, s=s: p + s * d, params, direction) for s in (step, -step))
    difference = (float(model.loss(ahead, batch)) - float(model.loss(behind, batch))) / (2 * step)
    assert slope == pytest.approx(difference, rel=1e-5)


def test_the_words_of_a_text_are_numbered_by_how_often_they_come(tmp_path):
    (tmp_path / "a.txt").write_text("the cat and the dog, THE end; a cat\n" * 40)
    found = number_words(read_text(tmp_path / "a.txt", limit_bytes=10_000), least=30, most=3)
    assert found.names == ("the", "cat", "and") and found.counts.sum() == len(found.train) > 0
    assert found.counts[0] < 3 * 38  # of a word that comes so often, not all are kept
    with pytest.raises(DataError, match="no word that comes 999 times"):
        number_words(read_text(tmp_path / "a.txt", limit_bytes=10_000), least=999, most=3)


def test_noise_words_follow_from_the_example_and_come_as_often_as_their_shares_say():
    upto = np.cumsum([0.5, 0.25, 0.125, 0.125])
    noise = drawn(np.arange(20_000), 5, upto)
    assert drawn(np.array([77, 3]), 5, upto).tolist() == noise[[77, 3]].tolist()
    np.testing.assert_allclose(np.bincount(noise.reshape(-1)) / noise.size, np.diff(upto, prepend=0.0), atol=0.005)
    assert abs(np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1]) < 0.02 and (noise[:, 0] != noise[:, 1]).mean() > 0.6


def test_words_begin_with_their_frequencies_and_learn_from_what_is_around_them(tmp_path):
    # Each of 300 words is followed by a word of its own.
    letters = "abcdefghijklmnopqrstuvwxyz"
    pairs = [f"left{a}{b} right{a}{b}" for a in letters[:15] for b in letters[:20]]
    (tmp_path / "pairs.txt").write_text(" ".join(np.random.default_rng(0).choice(pairs, 9000)))
    model = build("cbow", ModelOptions(width=8, context=1, data=str(tmp_path / "pairs.txt")))
    params, everything = model.init(0), model.validation.batch(np.arange(len(model.validation)))
    assert model.evaluate(params, everything)["val_loss"] == pytest.approx(model.goal[2], rel=0.03)
    step = value_and_grad(model.loss)
    for start in range(60):
        _, grads = step(params, model.train.batch(np.arange(start, len(model.train) - 10, 5)))
        params = map_leaves(lambda p, g: p - np.float32(40.0) * g, params, grads)
    assert model.evaluate(params, everything)["val_loss"] < 0.9 * model.goal[2]
    assert len(model.sample(params, 0).splitlines()) == 12
    assert nearest(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.1], [-1.0, 0.0]]), 0, 2).tolist() == [2, 1]


def test_a_sample_follows_from_its_seed_and_continues_its_prompt():
    params = transformer.init(0, config=SMALL)
    texts = [transformer.sample(params, b"def ", 20, seed, config=SMALL) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith(b"def ") and len(texts[0]) == 24
    with pytest.raises(ValueError, match="temperature"):
        transformer.sample(params, b"", 1, 0, config=SMALL, temperature=0.0)


def test_the_digits_model_learns_from_its_gradients():
    model = build("digits", ModelOptions(layers=1, width=32))
    params = model.init(0)
    step = value_and_grad(model.loss)
    batch = model.train.batch(np.arange(256))
    first, _ = step(params, batch)
    for _ in range(60):
        _, grads = step(params, batch)
        params = map_leaves(lambda p, g: p - np.float32(0.3) * g, params, grads)
    assert float(model.loss(params, batch)) < 0.3 * float(first)
    assert model.evaluate(params, model.validation.batch(np.arange(360)))["val_accuracy"] > 0.7
    assert model.sample(params, 0).count("answer") == 5


def test_a_tree_of_classes_has_a_way_to_each_and_its_chances_add_up_to_one():
    model = build("class-tree", ModelOptions(layers=2, width=16))
    params, one = model.init(0), model.train.batch(np.arange(1))
    images = {"image": np.repeat(one["image"], 10, axis=0), "label": np.arange(10)}
    chances = [np.exp(-float(model.loss(params, {name: x[c : c + 1] for name, x in images.items()}))) for c in range(10)]
    assert sum(chances) == pytest.approx(1.0, rel=1e-5)
    assert len(model.sample(params, 0).splitlines()) == 10


def test_a_loss_that_walks_a_tree_has_the_same_gradient_under_a_budget_whatever_the_labels_are():
    model = build("class-tree", ModelOptions(layers=3, width=16))
    params = model.init(0)
    budgeted, plain = value_and_grad(model.loss, memory_budget=11_000), value_and_grad(model.loss)
    lengths = set()
    for first in range(0, 72, 24):
        batch = model.train.batch(np.arange(first, first + 24))
        (value, grads), (expected, wanted) = budgeted(params, batch), plain(params, batch)
        lengths.add(len(plan(model.loss, params, batch).program))
        assert value == expected
        assert budgeted.report is not None and budgeted.report.extra_work > 0
        for made, right in zip(flatten(grads)[0], flatten(wanted)[0], strict=True):
            np.testing.assert_array_equal(made, right)
    assert len(lengths) > 1


def test_every_model_has_its_defaults_of_a_run_and_of_the_sizes_that_it_has():
    assert DEFAULTS.keys() == BUILDERS.keys() == {"transformer", "digits", "convolution", "class-tree", "cbow"}
    sizes = {field.name for field in fields(ModelOptions)}
    assert len({frozenset(settings - sizes) for settings in map(set, DEFAULTS.values())}) == 1


def test_bad_models_and_sizes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no model 'gpt'; the models are: transformer, digits"):
        build("gpt", ModelOptions())
    with pytest.raises(ConfigError, match="width 10 is not divisible by 4 heads"):
        transformer.Config(width=10, heads=4)
    with pytest.raises(ConfigError, match="layers is 0"):
        transformer.Config(layers=0)
    (tmp_path / "short.txt").write_text("too little")
    with pytest.raises(DataError, match="too short"):
        build("transformer", ModelOptions(data=str(tmp_path / "short.txt")))
    with pytest.raises(DataError, match="no word that comes 3 times"):
        build("cbow", ModelOptions(data=str(tmp_path / "short.txt")))
    for name in ("digits", "convolution"):
        with pytest.raises(DataError, match="leave --data out"):
            build(name, ModelOptions(layers=2, data=str(tmp_path)))
    with pytest.raises(ConfigError, match="layers is 4; each halves"):
        build("convolution", ModelOptions(layers=4))
