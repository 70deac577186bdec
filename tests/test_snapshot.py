import errno
import os
import signal
import struct
import subprocess
import sys
import threading
import time

import msgpack
import numpy as np
import pytest

from retape.cluster.errors import ConfigError, SnapshotError
from retape.cluster.snapshot import (
    Best,
    Snapshot,
    Writer,
    check_same_run,
    export_parameters,
    latest,
    load,
    read,
    remove_partial,
    save,
)
from retape.cluster.snapshot.format import digest


def example(step=3, width=4, **scores):
    params = {
        "layers": [np.arange(width, dtype=np.float32), np.array(2.5)],
        "empty": np.zeros((0, 2), np.float32),
    }
    state = {"count": np.array(step), "mean": {"layers": [np.ones(width, np.float32), np.array(0.0)]}}
    return Snapshot(
        step=step,
        params=params,
        state=state,
        order={"seed": 1, "epoch": 2, "position": 30},
        random={"seed": 1, "step": step},
        settings={"workers": 2, "microbatch": "auto", "memory_budget": None},
        scores=scores,
    )


def reload(path, like=None):
    like = like or example()
    return load(path, params_like=like.params, state_like=like.state)


def test_a_snapshot_comes_back_bit_for_bit(tmp_path):
    saved = example()
    loaded = reload(save(tmp_path, saved))
    assert (loaded.step, loaded.order, loaded.random, loaded.settings) == (
        saved.step,
        saved.order,
        saved.random,
        saved.settings,
    )
    for a, b in zip(loaded.params["layers"], saved.params["layers"], strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    assert loaded.params["empty"].shape == (0, 2)
    assert loaded.state["count"] == 3
    loaded.params["layers"][0][0] = 7.0  # writable


def test_the_last_three_are_kept(tmp_path):
    for step in range(6):
        save(tmp_path, example(step))
    assert [p.name for p in sorted(tmp_path.iterdir())] == [f"step-{s:09d}.snapshot" for s in (3, 4, 5)]
    with pytest.raises(ValueError, match="keep"):
        save(tmp_path, example(9), keep=0)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return save(folder, example(1)), save(folder, example(2))


def test_a_snapshot_cut_anywhere_is_named_and_the_one_before_it_is_used(two):
    before, newest = two
    whole = newest.read_bytes()
    for length in range(len(whole)):
        newest.write_bytes(whole[:length])
        path, damaged = latest(newest.parent)
        assert path == before and newest.name in str(damaged[0])
    newest.write_bytes(whole + b"x")
    assert latest(newest.parent)[0] == before
    newest.write_bytes(whole)
    assert latest(newest.parent) == (newest, [])


def test_a_snapshot_with_any_byte_altered_is_named_and_the_one_before_it_is_used(two):
    before, newest = two
    whole, draw = newest.read_bytes(), np.random.default_rng(0)
    for place in range(len(whole)):
        altered = bytearray(whole)
        altered[place] ^= int(draw.integers(1, 256))
        newest.write_bytes(altered)
        path, damaged = latest(newest.parent)
        assert path == before and newest.name in str(damaged[0])
    newest.write_bytes(whole)
    assert latest(newest.parent) == (newest, [])


def test_random_bytes_behind_a_good_checksum_are_refused(tmp_path):
    path = save(tmp_path, example())
    header, payload = path.read_bytes()[:20], path.read_bytes()[52:]
    draw = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        altered = bytearray(payload)
        altered[draw.integers(len(payload))] ^= int(draw.integers(1, 256))
        path.write_bytes(header + digest(1, bytes(altered)) + altered)
        try:
            loaded = reload(path)
        except SnapshotError:
            refused += 1
        else:
            assert loaded.params["layers"][0].shape == (4,)  # other values, but of the model's shape
    assert refused > 100


def test_a_newer_format_is_named_with_its_number(tmp_path):
    path = save(tmp_path, example())
    content = bytearray(path.read_bytes())
    payload = bytes(content[52:])
    content[8:12] = struct.pack("<I", 7)
    content[20:52] = digest(7, payload)
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match="format 7.*reads up to 2.*update retape"):
        read(path)


def test_another_models_leaves_are_named(tmp_path):
    path = save(tmp_path, example())
    with pytest.raises(SnapshotError, match=r"another model.*layers.*\[4\] saved.*\[5\] here"):
        reload(path, example(width=5))
    other = example()
    other.params["extra"] = np.ones(1, np.float32)
    with pytest.raises(SnapshotError, match="extra.*not in the snapshot"):
        reload(path, other)


def test_a_file_that_is_no_snapshot_or_missing_is_named(tmp_path):
    (tmp_path / "x").write_bytes(b"hello world, this is text, long enough for a whole header of a snapshot")
    with pytest.raises(SnapshotError, match="not a retape snapshot"):
        read(tmp_path / "x")
    with pytest.raises(SnapshotError, match="cannot be read"):
        read(tmp_path / "y")


def test_latest_falls_back_past_a_damaged_one_and_names_it(tmp_path):
    good, bad = save(tmp_path, example(1)), save(tmp_path, example(2))
    bad.write_bytes(bad.read_bytes()[:-1])
    path, damaged = latest(tmp_path)
    assert path == good
    assert [bad.name in str(error) for error in damaged] == [True]
    good.write_bytes(b"")
    with pytest.raises(SnapshotError, match="no good snapshot"):
        latest(tmp_path)
    with pytest.raises(SnapshotError, match="there is no snapshot"):
        latest(tmp_path / "nowhere")


def test_half_written_files_of_earlier_steps_are_removed_but_not_those_of_a_later_writer(tmp_path):
    for step in (3, 5):
        (tmp_path / f".step-00000000{step}.snapshot.123.partial").write_bytes(b"half")
    save(tmp_path, example(4))
    assert [path.name[:15] for path in tmp_path.glob(".*")] == [".step-000000005"]
    remove_partial(tmp_path)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("best", "scores", "kept"),
    [
        ("lowest loss", [3.0, 1.0, 2.0, 1.5], 1),
        ("highest loss", [3.0, 1.0, 2.0, 1.5], 0),
        ("lowest loss", [float("nan"), 2.0, float("nan"), 2.0], 1),
        ("lowest loss", [5.0, None, 7.0, None], 0),
    ],
)
def test_the_best_snapshot_stays_beside_the_last_ones(tmp_path, best, scores, kept):
    for step, score in enumerate(scores):
        save(tmp_path, example(step, **({} if score is None else {"loss": score})), keep=1, best=Best.of(best))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.snapshot", "step-000000003.snapshot"]
    assert reload(tmp_path / "best.snapshot").step == kept


def test_a_damaged_best_snapshot_gives_way_and_a_bad_wish_is_refused(tmp_path):
    (tmp_path / "best.snapshot").write_bytes(b"x" * 100)
    save(tmp_path, example(1, loss=9.0), best=Best.of("lowest loss"))
    assert reload(tmp_path / "best.snapshot").scores == {"loss": 9.0}
    with pytest.raises(ConfigError, match="'loss'.*lowest val_loss"):
        Best.of("loss")


def test_a_snapshot_of_another_optimizer_or_data_set_is_refused_with_both_values(tmp_path):
    saved = Snapshot(3, {}, {}, {}, settings={"optimizer": "adamw", "examples": 64})
    check_same_run(saved, "x", optimizer="adamw", examples=64, unknown_then=1)
    with pytest.raises(SnapshotError, match="optimizer 'adamw' saved, 'lamb' here; examples 64 saved, 65 here"):
        check_same_run(saved, "x", optimizer="lamb", examples=65)


def full_disk(monkeypatch, times):
    """The next ``times`` flushes find no space left; returns the list that counts them."""
    sync, failed = os.fsync, []

    def fsync(descriptor):
        if len(failed) < times:
            failed.append(descriptor)
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return failed


def test_a_writer_copies_what_it_is_given_and_writes_it_in_the_background(tmp_path, monkeypatch):
    may_write, sync = threading.Event(), os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (may_write.wait(20), sync(descriptor)))
    writer, saved = Writer(tmp_path, keep=2), example(1)
    writer.submit(saved)
    saved.params["layers"][0] += 100.0  # training goes on
    assert not list(tmp_path.glob("step-*"))
    may_write.set()
    writer.attempt()
    np.testing.assert_array_equal(reload(tmp_path / "step-000000001.snapshot").params["layers"][0], np.arange(4))
    writer.submit(example(2))
    writer.submit(example(3))
    writer.close()
    assert latest(tmp_path)[0].name == "step-000000003.snapshot" and writer.news() == []


def test_a_writer_on_a_full_disk_says_so_once_and_tries_again_until_there_is_space(tmp_path, monkeypatch):
    failed = full_disk(monkeypatch, times=3)
    writer = Writer(tmp_path, keep=2, retry_seconds=0.01)
    writer.submit(example(1))
    writer.finish(20)
    assert len(failed) == 3
    told, healed = writer.news()
    assert "step 1 " in told and "No space left" in told and "tried again" in told and "written at last" in healed
    assert latest(tmp_path)[0].name == "step-000000001.snapshot" and not list(tmp_path.glob(".*"))
    writer.close()


def test_a_newer_snapshot_takes_the_place_of_one_that_could_not_be_written(tmp_path, monkeypatch):
    full_disk(monkeypatch, times=1)
    writer = Writer(tmp_path, keep=2, retry_seconds=100)
    writer.submit(example(1))
    with pytest.raises(SnapshotError, match="No space left"):
        writer.attempt()
    writer.submit(example(2))
    writer.attempt()
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000002.snapshot"]
    writer.close()


def test_a_writer_gives_up_at_its_end(tmp_path, monkeypatch):
    failed = full_disk(monkeypatch, times=100)
    writer = Writer(tmp_path, keep=2, retry_seconds=100)
    writer.submit(example(1))
    writer.close()
    assert len(failed) == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_exported_parameters_have_the_leaves_names_and_bits(tmp_path, suffix):
    saved = example()
    target = tmp_path / f"parameters{suffix}"
    if suffix == ".npz":
        made = export_parameters(save(tmp_path, saved), target)
        with np.load(target) as file:
            loaded = {name: file[name] for name in file.files}
    else:
        library = pytest.importorskip("safetensors.numpy")
        made = export_parameters(save(tmp_path, saved), target)
        loaded = library.load_file(target)
    assert set(loaded) == set(made) == {"layers.0", "layers.1", "empty"}
    for name, leaf in (("layers.0", saved.params["layers"][0]), ("empty", saved.params["empty"])):
        assert loaded[name].dtype == leaf.dtype and loaded[name].shape == leaf.shape
        assert loaded[name].tobytes() == leaf.tobytes()
    assert not list(tmp_path.glob(".*"))


def test_an_export_that_cannot_be_made_is_refused(tmp_path):
    path = save(tmp_path, example())
    with pytest.raises(ConfigError, match="npz.*safetensors"):
        export_parameters(path, tmp_path / "x.pkl")
    with pytest.raises(SnapshotError, match="could not be written"):
        export_parameters(path, tmp_path / "nowhere" / "x.npz")
    same = Snapshot(1, {"a": {"b": np.zeros(1)}, "a.b": np.zeros(1)}, {}, {})
    with pytest.raises(SnapshotError, match="two parameters.*'a.b'"):
        export_parameters(save(tmp_path, same), tmp_path / "x.npz")


def test_an_unwritable_folder_is_an_error_that_names_it(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    with pytest.raises(SnapshotError, match="could not be written"):
        save(blocker / "snapshots", example())


def test_the_payload_is_plain_msgpack(tmp_path):
    path = save(tmp_path, example())
    fields = msgpack.unpackb(path.read_bytes()[52:])
    assert set(fields) == {"step", "order", "random", "settings", "scores", "params", "state"}


_WRITER = """
import sys
import numpy as np
from retape.cluster.snapshot import Snapshot, save
params = {"w": np.zeros(1_000_000, np.float32)}
step = 1
while True:
    params["w"] += 1
    save(sys.argv[1], Snapshot(step, params, {}, {"seed": 0, "epoch": 0, "position": step}))
    print(step, flush=True)
    step += 1
"""


@pytest.mark.parametrize("delay_seconds", [0.0, 0.003, 0.007, 0.012])
def test_a_writer_killed_at_any_moment_leaves_a_good_snapshot(tmp_path, delay_seconds):
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(2):
            written = int(writer.stdout.readline())
        time.sleep(delay_seconds)
        os.kill(writer.pid, signal.SIGKILL)
    finally:
        writer.kill()
        rest = writer.communicate()[0].split()
    written = int(rest[-1]) if rest else written
    path, damaged = latest(tmp_path)
    loaded = load(path, params_like={"w": np.zeros(1_000_000, np.float32)}, state_like={})
    assert not damaged
    assert loaded.step >= written
    assert (loaded.params["w"] == loaded.step).all()
