import pickle

import numpy as np
import pytest

from retape.cluster.data import Arrays, Examples, Order, as_source, permutation, shard, take
from retape.cluster.errors import DataError
from retape.cluster.text import Windows, bigram_entropy, read_text


def test_an_epochs_order_is_a_permutation_that_follows_from_seed_and_epoch_alone():
    a = permutation(3, 0, 100)
    permutation.cache_clear()
    assert (a == permutation(3, 0, 100)).all()
    assert sorted(a) == list(range(100))
    assert (a != permutation(3, 1, 100)).any() and (a != permutation(4, 0, 100)).any()


def test_batches_walk_through_an_epoch_once_and_leave_out_the_remainder():
    order, seen = Order(seed=1), []
    for _ in range(3):
        indices, order = take(order, 3, 10)
        seen += list(indices)
    assert len(set(seen)) == 9 and order == Order(1, 0, 9)
    _, order = take(order, 3, 10)
    assert order == Order(1, 1, 3)


def test_a_batch_larger_than_the_data_is_refused_with_both_numbers():
    with pytest.raises(DataError, match="11 examples.*10"):
        take(Order(0), 11, 10)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_shards_are_contiguous_and_complete(world):
    indices = np.arange(20)
    parts = [shard(indices, rank, world) for rank in range(world)]
    assert np.concatenate(parts).tolist() == indices.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_arrays_and_examples_become_sources():
    tree = {"x": np.arange(12).reshape(6, 2), "y": np.arange(6)}
    batch = as_source(tree).batch(np.array([4, 1]))
    assert batch["x"].tolist() == [[8, 9], [2, 3]] and batch["y"].tolist() == [4, 1]
    items = [{"x": np.full(2, i), "y": i} for i in range(5)]
    batch = as_source(items).batch(np.array([3, 0]))
    assert batch["x"].tolist() == [[3, 3], [0, 0]] and batch["y"].tolist() == [3, 0]
    assert isinstance(as_source(np.zeros((4, 2))), Arrays) and isinstance(as_source(items), Examples)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([], "no examples"),
        (np.zeros((0, 3)), "no examples"),
        ((np.zeros(3), np.zeros(4)), "leading axis"),
        (5, "int"),
    ],
)
def test_data_that_cannot_be_used_is_refused(data, text):
    with pytest.raises(DataError, match=text):
        as_source(data)


def test_windows_overlap_by_the_one_byte_that_is_predicted():
    windows = Windows(np.arange(10, dtype=np.uint8), 3)
    assert len(windows) == 3
    assert windows.batch(np.array([0, 2])).tolist() == [[0, 1, 2, 3], [6, 7, 8, 9]]


def test_text_is_split_the_same_way_each_time_and_within_the_limit(tmp_path):
    for i in range(8):
        (tmp_path / f"{i}.txt").write_bytes(bytes([65 + i]) * 500)
    (tmp_path / ".hidden").write_bytes(b"z" * 500)
    first, second = (read_text(tmp_path, limit_bytes=10_000) for _ in range(2))
    assert first.train.tobytes() == second.train.tobytes()
    assert (len(first.train), len(first.validation), first.files) == (3800, 200, 8)
    assert ord("z") not in first.train
    assert len(read_text(tmp_path, limit_bytes=1000).train) == 950


def test_the_standard_library_is_there_to_read():
    text = read_text(None, limit_bytes=200_000)
    assert len(text.train) + len(text.validation) == 200_000


def test_missing_and_empty_paths_are_refused_by_name(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        read_text(tmp_path / "nowhere", limit_bytes=100)
    (tmp_path / "empty").write_bytes(b"")
    for path in (tmp_path, tmp_path / "empty"):
        with pytest.raises(DataError, match="no text"):
            read_text(path, limit_bytes=100)


def test_bigram_entropy_by_hand():
    # "aab" repeated: after a comes a or b equally often, after b always a.
    data = np.frombuffer(b"aab" * 3000, np.uint8)
    entropy = bigram_entropy(data, data)
    assert entropy.conditional == pytest.approx(2 / 3, abs=1e-3)
    assert entropy.fitted == pytest.approx(entropy.conditional, abs=0.03)
    assert entropy.bar == entropy.conditional


def test_a_bigram_never_seen_in_training_costs_bits_but_stays_finite():
    entropy = bigram_entropy(np.frombuffer(b"abab", np.uint8), np.frombuffer(b"zq", np.uint8))
    assert entropy.fitted == pytest.approx(8.0) and entropy.conditional == 0.0
    with pytest.raises(DataError, match="2 bytes"):
        bigram_entropy(np.zeros(1, np.uint8), np.zeros(5, np.uint8))


def array_files(folder, kind):
    """The same two arrays of 50 examples as files, and the path of the source."""
    x, y = np.arange(150.0).reshape(50, 3), np.arange(50)
    if kind == "npz":
        np.savez(folder / "data.npz", x=x, y=y)
        return folder / "data.npz"
    for name, array in (("x", x), ("y", y)):
        np.save(folder / f"{name}.npy", array)
    return folder if kind == "folder" else folder / "x.npy"


@pytest.mark.parametrize("kind", ["npy", "folder", "npz"])
def test_array_files_give_the_batches_of_their_arrays_and_travel_as_a_path(tmp_path, kind):
    source = as_source(str(array_files(tmp_path, kind)))
    shipped = pickle.dumps(source)
    assert len(shipped) < 600  # the 50 examples take 1600 bytes
    batch = pickle.loads(shipped).batch(np.array([7, 2]))
    x, y = (batch, None) if kind == "npy" else (batch["x"], batch["y"])
    assert len(source) == 50 and type(x) is np.ndarray and x.tolist() == [[21, 22, 23], [6, 7, 8]]
    assert y is None or y.tolist() == [7, 2]


def test_npy_files_are_mapped_and_not_read(tmp_path):
    with open(tmp_path / "huge.npy", "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**30, 16)}
        np.lib.format.write_array_header_2_0(file, header)
        file.truncate(file.tell() + 2**36)  # 64 GiB of holes
    source = as_source(tmp_path / "huge.npy")
    assert len(source) == 2**30 and source.batch(np.array([2**30 - 1])).tolist() == [[0.0] * 16]


def test_array_files_that_change_during_a_run_are_refused(tmp_path):
    source = as_source(array_files(tmp_path, "folder"))
    np.save(tmp_path / "y.npy", np.arange(51))
    with pytest.raises(DataError, match="changed during the run"):
        source.batch(np.array([1]))


@pytest.mark.parametrize(
    ("name", "text"),
    [("gone.npy", "does not exist"), ("x.csv", "no .npy or .npz"), ("cut.npy", "cannot be read"), (".", "no .npy files")],
)
def test_paths_without_arrays_are_refused_by_name(tmp_path, name, text):
    if name in ("cut.npy", "x.csv"):
        (tmp_path / name).write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(DataError, match=text):
        as_source(tmp_path / name)


def test_array_files_of_pickled_objects_are_never_opened(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}, None], object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.array([{"a": 1}], object))
    for name in ("x.npy", "x.npz"):
        with pytest.raises(DataError, match="arrays of numbers"):
            as_source(tmp_path / name)


def test_array_files_of_other_lengths_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros(3), y=np.zeros(4))
    with pytest.raises(DataError, match="leading axis"):
        as_source(tmp_path / "x.npz")
