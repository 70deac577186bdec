"""Training data in files of many kinds: the same batches as from memory, and files that change are named."""

import os
import pickle

import numpy as np
import pytest

from retape.cluster import ConfigError, DataError, ImageFolder, ParquetFiles, TextFiles
from retape.cluster.data import as_source, fetch

X = np.arange(150, dtype=np.float32).reshape(50, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)


def parquet(folder, name="data.parquet", rows=slice(None), **more):
    arrow, files = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"x": list(X[rows]), "y": np.arange(50)[rows], "sure": np.arange(50)[rows] % 2 == 0, **more}
    files.write_table(arrow.table(columns), folder / name, row_group_size=8)
    return folder / name


def images(folder):
    library = pytest.importorskip("PIL.Image")
    for number, pixels in enumerate(PIXELS):
        (folder / "cat dog".split()[number % 2]).mkdir(exist_ok=True)
        library.fromarray(pixels).save(folder / "cat dog".split()[number % 2] / f"{number}.png")
    return folder


def texts(folder):
    (folder / "more").mkdir()
    (folder / "a.txt").write_bytes(b"0123456789")
    (folder / "more" / "b.txt").write_bytes(b"abcdefgh")
    (folder / "short.txt").write_bytes(b"abc")
    return folder


@pytest.mark.parametrize("cache_bytes", [1, 2**20])
@pytest.mark.parametrize("several", [False, True])
def test_parquet_rows_come_as_arrays_by_column_in_any_order(tmp_path, several, cache_bytes):
    path = parquet(tmp_path, "b.parquet", slice(0, 50))
    if several:
        path.unlink()
        parquet(tmp_path, "a.parquet", slice(0, 13))
        parquet(tmp_path, "b.parquet", slice(13, 50))
        path = tmp_path
    source = pickle.loads(pickle.dumps(ParquetFiles.at(path, cache_bytes=cache_bytes)))
    indices = np.random.default_rng(0).permutation(50)
    batch = source.batch(indices)
    assert len(source) == 50 and list(batch) == ["x", "y", "sure"]
    assert batch["x"].dtype == np.float32 and (batch["x"] == X[indices]).all() and (batch["y"] == indices).all()
    assert batch["sure"].dtype == bool and (as_source(path).batch(np.array([3]))["x"] == X[3:4]).all()
    assert list(ParquetFiles.at(path, columns=("y",)).batch(indices)) == ["y"]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ([None, *range(49)], "'z' of .*data.parquet has 1 missing values"),
        (["a"] * 50, "'z' .*holds string; a batch takes numbers"),
        ([[1, 2]] * 49 + [[1, 2, 3]], "lists of 2 to 3 numbers: pad them"),
    ],
)
def test_parquet_columns_that_are_no_arrays_are_refused_by_name(tmp_path, column, text):
    path = parquet(tmp_path, z=column)
    with pytest.raises(DataError, match=text):
        ParquetFiles.at(path).batch(np.arange(50))
    with pytest.raises(DataError, match="no column q; it has x, y, sure, z"):
        ParquetFiles.at(path, columns=("q",))


def test_image_folders_give_pixels_and_the_number_of_the_class(tmp_path):
    source = as_source(images(tmp_path))
    assert isinstance(source, ImageFolder) and source.classes == ("cat", "dog") and len(source) == 6
    batch = pickle.loads(pickle.dumps(source)).batch(np.array([5, 0]))
    assert batch["label"].tolist() == [1, 0] and batch["image"].dtype == np.float32
    np.testing.assert_array_equal(batch["image"], PIXELS[[5, 0]].astype(np.float32) / np.float32(255))
    assert ImageFolder.at(tmp_path, size=(2, 3), channels=1).batch(np.arange(6))["image"].shape == (6, 2, 3, 1)
    library = pytest.importorskip("PIL.Image")
    library.fromarray(PIXELS[0, :2]).save(tmp_path / "cat" / "0.png")
    with pytest.raises(DataError, match=r"2.png has 4 x 5 pixels, and .*0.png has 2 x 5: give a size"):
        ImageFolder.at(tmp_path).batch(np.arange(6))
    with pytest.raises(ConfigError, match="channels is 2"):
        ImageFolder.at(tmp_path, channels=2)


def test_text_files_give_windows_that_stay_inside_a_file(tmp_path):
    source = pickle.loads(pickle.dumps(TextFiles.at(texts(tmp_path), length=3)))
    windows = [bytes(window) for window in source.batch(np.array([4, 0, 1, 2, 3]))]
    assert len(source) == 5 and windows == [b"defg", b"0123", b"3456", b"6789", b"abcd"]
    with pytest.raises(DataError, match="no text of more than 10 bytes.*3 files match"):
        TextFiles.at(tmp_path, length=10)
    with pytest.raises(DataError, match=r"give TextFiles.at\("):
        as_source(tmp_path)


@pytest.mark.parametrize(
    ("make", "kind", "file"),
    [
        (parquet, ParquetFiles.at, "data.parquet"),
        (images, ImageFolder.at, "cat/0.png"),
        (texts, lambda path: TextFiles.at(path, length=3), "a.txt"),
    ],
)
def test_a_file_that_changes_or_goes_under_the_run_is_named(tmp_path, make, kind, file):
    source = kind(make(tmp_path))
    source.batch(np.array([0]))
    file = tmp_path / file
    content = file.read_bytes()
    os.utime(file, ns=(1, 1))
    with pytest.raises(DataError, match=rf"{file.name} changed during the run.*another time"):
        source.batch(np.array([0]))
    file.write_bytes(content + b"x")
    with pytest.raises(DataError, match=rf"{len(content)} bytes then, {len(content) + 1} now"):
        source.batch(np.array([0]))
    file.unlink()
    with pytest.raises(DataError, match=rf"{file.name} is gone"):
        source.batch(np.array([0]))


@pytest.mark.parametrize(("name", "content"), [("x.parquet", b"no parquet"), ("cat/x.png", b"no image")])
def test_a_file_of_another_kind_is_named(tmp_path, name, content):
    pytest.importorskip("pyarrow")
    (tmp_path / "cat").mkdir()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name.split('/')[-1]} cannot be read"):
        as_source(tmp_path)


def test_anything_with_a_length_and_an_index_is_a_source():
    class Squares:
        def __len__(self):
            return 9

        def __getitem__(self, index):
            if index == 7:
                raise OSError("disk on fire")
            return {"x": np.full(index if index == 8 else 2, index * index)}

    source = as_source(Squares())
    assert fetch(source, np.array([3, 1]))["x"].tolist() == [[9, 9], [1, 1]]
    with pytest.raises(DataError, match="example 7 of the data could not be read: OSError: disk on fire"):
        fetch(source, np.array([1, 7, 2]))
    with pytest.raises(DataError, match="the examples 1, 8 of the data make no batch: ValueError"):
        fetch(source, np.array([1, 8]))
