"""Snapshots in parts, written by several workers, and snapshots in object stores."""

import struct
import threading
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import msgpack
import numpy as np
import pytest
from test_worker import bits, crew, job, together

from retape.cluster import ConfigError
from retape.cluster.errors import SnapshotError
from retape.cluster.folder import find_snapshot, set_aside, set_aside_newer
from retape.cluster.snapshot import (
    Best,
    Share,
    Snapshot,
    Writer,
    export_parameters,
    latest,
    load,
    read,
    remove_partial,
    save,
    shares,
)
from retape.cluster.snapshot.format import pack
from retape.cluster.snapshot.places import LocalPlace, RemotePlace, open_place
from retape.cluster.snapshot.store import MissingPartsError, commit, write_parts
from retape.cluster.worker import Worker


def example(step=3, **scores):
    params = {"w": np.arange(23, dtype=np.float32) + step, "empty": np.zeros((0, 2)), "one": np.array(2.5)}
    state = {"count": np.array(step), "mean": [np.ones((3, 5), np.float32)]}
    return Snapshot(step, params, state, {"seed": 1, "epoch": 0, "position": step}, scores=scores)


def same(loaded, saved):
    for a, b in ((loaded.params, saved.params), (loaded.state, saved.state)):
        for x, y in zip(a.values(), b.values(), strict=True):
            x, y = np.asarray(x), np.asarray(y)
            assert x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    return True


def reload(file):
    like = example()
    return load(file, params_like=like.params, state_like=like.state)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(shares, "ONE_FILE_BYTES", 0)
    monkeypatch.setattr(shares, "PART_BYTES", 40)


@pytest.fixture
def store():
    """The URL of an empty object store in memory."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield "memory://bucket/run"
    memory.store.clear()


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_workers_write_their_parts_in_any_order_and_the_first_makes_a_snapshot_of_them(tmp_path, small_parts, world):
    saved, place = example(), LocalPlace(tmp_path)
    packed = [pack(saved, Share(rank, world, "1_ab")) for rank in range(world)]
    own = [sum(part.payload_bytes for part in each.parts if part.payload is not None) for each in packed]
    assert sum(own) == 23 * 4 + 8 + 8 + 60 and max(own) - min(own) <= 1
    for each in reversed(packed[1:]):
        with pytest.raises(MissingPartsError, match="have not written"):
            commit(place, packed[0], keep=3)
        assert not list(tmp_path.glob("*.snapshot"))
        write_parts(place, each, set())
    write_parts(place, packed[0], set())
    file = commit(place, packed[0], keep=3)
    loaded = reload(file)
    assert same(loaded, saved) and loaded.order["position"] == 3
    loaded.params["w"] += 1  # an array of its own
    made = export_parameters(file, tmp_path / "parameters.npz")
    assert made["w"].tobytes() == saved.params["w"].tobytes()


def test_every_altered_or_missing_byte_of_any_part_is_noticed_and_the_snapshot_before_it_is_used(tmp_path, small_parts):
    before, newest = save(tmp_path, example(1)), Path(save(tmp_path, example(2)))
    files = [newest, *tmp_path.glob("step-000000002*.part")]
    assert len(files) == 6
    draw = np.random.default_rng(0)
    for file in files:
        whole = file.read_bytes()
        for place in range(len(whole)):
            altered = bytearray(whole)
            altered[place] ^= int(draw.integers(1, 256))
            file.write_bytes(altered)
            path, damaged = latest(tmp_path)
            assert path == before and "step-000000002" in str(damaged[0])
        for length in range(0, len(whole), 7):
            file.write_bytes(whole[:length])
            assert latest(tmp_path)[0] == before
        file.unlink()
        assert latest(tmp_path)[0] == before
        file.write_bytes(whole)
    assert latest(tmp_path) == (newest, [])


def test_parts_of_another_step_do_not_pass_for_a_snapshots_own(tmp_path, small_parts):
    save(tmp_path, example(1))
    newest = save(tmp_path, example(2))
    for part in tmp_path.glob("step-000000001*.part"):
        part.rename(str(part).replace("000000001", "000000002"))
    with pytest.raises(SnapshotError, match="part of another snapshot"):
        read(newest)


def forged(fields, version=2):
    """A snapshot's file with a good checksum, by the documented layout and no other code."""
    payload = msgpack.packb(fields)
    digest = blake2b(struct.pack("<I", version) + payload, digest_size=32).digest()
    return b"RETAPE\x1aS" + struct.pack("<IQ", version, len(payload)) + digest + payload


def leaf(array, **more):
    return {"path": "['w']", "dtype": array.dtype.str, "shape": list(array.shape), **more}


def test_a_snapshot_of_format_1_is_read_and_one_in_a_single_file_is_written_in_it(tmp_path):
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    fields = {"step": 7, "order": {"seed": 0}, "random": {}, "settings": {"shards": 4}, "scores": {}}
    file = tmp_path / "step-000000007.snapshot"
    file.write_bytes(forged({**fields, "params": [leaf(w, data=w.tobytes())], "state": []}, version=1))
    loaded = load(file, params_like={"w": w}, state_like={})
    assert loaded.step == 7 and loaded.settings == {"shards": 4} and loaded.params["w"].tolist() == w.tolist()
    written = file.read_bytes()
    save(tmp_path, Snapshot(7, {"w": w}, {}, {"seed": 0}, settings={"shards": 4}))
    assert file.read_bytes() == written


@pytest.mark.parametrize(
    ("part", "size"),
    [
        ({"name": "../../secret", "bytes": 24, "digest": b"", "extents": [[0, 0, 24]]}, 6),
        ({"name": "step-000000007-0-0000-0000.part", "bytes": 24, "digest": b"", "extents": [[0, 0, 23]]}, 6),
        ({"name": "step-000000007-0-0000-0000.part", "bytes": 20, "digest": b"", "extents": [[0, 0, 20]]}, 6),
        ({"name": "step-000000007-0-0000-0000.part", "bytes": 24, "digest": b"", "extents": [[1, 0, 24]]}, 6),
        ({"name": "step-000000007-0-0000-0000.part", "bytes": 2**60, "digest": b"", "extents": [[0, 0, 2**60]]}, 2**58),
    ],
)
def test_a_forged_list_of_parts_is_refused(tmp_path, part, size):
    fields = {"step": 7, "order": {}, "random": {}, "settings": {}, "scores": {}, "parts": [part]}
    (tmp_path / "x").write_bytes(forged({**fields, "params": [{**leaf(np.zeros(6, "f4")), "shape": [size]}], "state": []}))
    with pytest.raises(SnapshotError):
        read(tmp_path / "x")


def test_parts_stay_as_long_as_the_last_snapshots_or_the_best_one_need_them(tmp_path, small_parts):
    for step, score in enumerate([5.0, 1.0, 3.0, 4.0]):
        save(tmp_path, example(step, loss=score), keep=1, best=Best.of("lowest loss"))
    assert {path.name[:14] for path in tmp_path.glob("*.part")} == {"step-000000001", "step-000000003"}
    assert same(reload(tmp_path / "best.snapshot"), example(1))
    orphan = tmp_path / "step-000000009-1_ab-0001-0000.part"
    orphan.write_bytes(b"of a worker that was killed")
    save(tmp_path, example(4), keep=1)
    assert orphan.exists()  # another worker may be at work on it
    remove_partial(tmp_path)
    assert not orphan.exists() and same(reload(tmp_path / "best.snapshot"), example(1))


def test_three_workers_save_their_shares_and_any_number_resumes_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(shares, "ONE_FILE_BYTES", 0)
    made = job(tmp_path, steps=12, snapshot_every=6)
    workers = crew(3, made)
    assert {outcome.status for outcome in together(workers)} == {"finished"}
    names = {path.name[-14:] for path in (tmp_path / "snapshots").glob("step-000000006-*.part")}
    assert names == {f"{rank:04d}-0000.part" for rank in range(3)}
    halfway = tmp_path / "snapshots" / "step-000000006.snapshot"
    (tmp_path / "again").mkdir()
    [alone] = crew(1, replace(made, out=tmp_path / "again", resume=halfway))
    assert together([alone])[0].status == "finished"
    assert bits(alone) == bits(workers[0])


def test_a_snapshot_whose_parts_do_not_come_is_told_of_and_gives_way_to_the_next(tmp_path, small_parts):
    writer = Writer(tmp_path, keep=2, retry_seconds=0.01, deadline_seconds=0.2)
    writer.submit(example(1), Share(0, 2, "1_ab"))
    with pytest.raises(SnapshotError, match=r"step 1 is not saved.*: workers \[1\] have not written their parts"):
        writer.finish(0.1)
    write_parts(LocalPlace(tmp_path), pack(example(2), Share(1, 2, "2_ab")), set())
    writer.submit(example(2), Share(0, 2, "2_ab"))
    writer.finish(20)
    writer.close()
    assert [path.name for path in tmp_path.glob("*.snapshot")] == ["step-000000002.snapshot"]
    assert not list(tmp_path.glob("step-000000001*"))


def test_the_next_snapshot_waits_for_parts_unless_their_workers_no_longer_work_together(tmp_path, small_parts):
    place, saved = LocalPlace(tmp_path), []

    def check():
        saved.append(1)
        if len(saved) == 2:
            write_parts(place, pack(example(1), Share(1, 2, "1_ab")), set())
        if len(saved) > 100:
            raise SnapshotError("the others are gone")

    writer = Writer(tmp_path, keep=9, deadline_seconds=20)
    writer.submit(example(1), Share(0, 2, "1_ab"))
    writer.submit(example(2), Share(0, 2, "1_ab"), check=check)
    assert (tmp_path / "step-000000001.snapshot").exists()
    saved += [1] * 100
    with pytest.raises(SnapshotError, match="the others are gone"):
        writer.submit(example(3), Share(0, 2, "1_ab"), check=check)
    with pytest.raises(SnapshotError, match="the others are gone"):
        writer.finish(20, check=check)
    writer.submit(example(3), Share(0, 1, "2_ab"), check=check)
    writer.finish(20)
    writer.close()
    assert [path.name[11:14] for path in sorted(tmp_path.glob("*.snapshot"))] == ["001", "003"]


def test_a_write_that_does_not_end_is_waited_for_until_the_deadline_and_becomes_no_snapshot(tmp_path, monkeypatch):
    release, check = threading.Event(), Writer._check
    writer = Writer(tmp_path, keep=2, deadline_seconds=0.1)
    monkeypatch.setattr(Writer, "_check", lambda writer: (release.wait(20), check(writer)) and None)
    writer.submit(example(1))
    writer.attempt()
    writer.submit(example(2))
    assert "step 2 is left out, for the snapshot of step 1 is not saved" in writer.news()[0]
    with pytest.raises(SnapshotError, match="after 0.1 s"):
        writer.finish(0.1)
    writer.close()
    release.set()
    writer._thread.join(20)
    assert not list(tmp_path.glob("*"))


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize("in_parts", [False, True])
def test_a_store_keeps_the_last_and_the_best_and_names_a_damaged_one(request, tmp_path, monkeypatch, store, kind, in_parts):
    where = store if kind == "memory" else f"file://{tmp_path}/snapshots"
    if in_parts:
        request.getfixturevalue("small_parts")
    for step, score in enumerate([5.0, 1.0, 3.0, 4.0]):
        file = save(where, example(step, loss=score), keep=2, best=Best.of("lowest loss"))
    place = open_place(where)
    names = [name for name in place.names() if name.endswith(".snapshot")]
    assert names == ["best.snapshot", "step-000000002.snapshot", "step-000000003.snapshot"]
    assert latest(where) == (file, []) and same(reload(file), example(3))
    assert same(reload(place.file("best.snapshot")), example(1))
    export_parameters(file, tmp_path / "parameters.npz")
    last = place.names()[-1]  # the snapshot's file, or a part of it
    place.write(last, [place.read(last)[:-1]])
    before, damaged = latest(where)
    assert str(before).endswith("step-000000002.snapshot") and "cut short" in str(damaged[0])


def test_a_run_saves_into_an_object_store_and_resumes_from_it_with_the_same_bits(tmp_path, store):
    made = replace(job(tmp_path, steps=8, snapshot_every=4), snapshots=store)
    [worker] = crew(1, made)
    assert together([worker])[0].status == "finished"
    assert find_snapshot(store, True) == (f"{store}/step-000000008.snapshot", [])
    halfway, _ = find_snapshot(store, f"{store}/step-000000004.snapshot")
    set_aside_newer(tmp_path, store, halfway)
    assert find_snapshot(store, store) == (halfway, [])
    [again] = crew(1, replace(made, resume=halfway))
    assert again.replica.step == 4 and together([again])[0].status == "finished"
    assert bits(again) == bits(worker) and not (tmp_path / "snapshots").exists()
    set_aside(tmp_path, store)
    assert open_place(store).names() == ["earlier-1", "earlier-2"]
    with pytest.raises(SnapshotError, match="no snapshot in memory://"):
        latest(store)


def test_lost_credentials_are_told_of_and_the_snapshot_comes_with_new_ones(store, monkeypatch):
    connections = []

    class Expiring(RemotePlace):
        def connect(self):
            if self._connected is None:
                connections.append(self.url)
            return super().connect()

        def write(self, name, pieces):
            if len(connections) < 3:
                self._do("written", name, self._refuse)
            super().write(name, pieces)

        def _refuse(self, fs, path):
            raise PermissionError("the token has expired")

    monkeypatch.setattr("retape.cluster.snapshot.writer.open_place", Expiring)
    writer = Writer(store, keep=2, retry_seconds=0.01)
    writer.submit(example(1))
    writer.finish(20)
    told, healed = writer.news()
    assert "step 1 " in told and "PermissionError: the token has expired" in told and "training goes on" in told
    assert "written at last" in healed and same(reload(f"{store}/step-000000001.snapshot"), example(1))
    writer.close()


def test_a_url_that_no_library_opens_is_refused_with_the_cure(monkeypatch):
    pytest.importorskip("fsspec")
    with pytest.raises(ConfigError, match="nonsense"):
        open_place("nonsense://bucket/run")
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(ConfigError, match=r"pip install 'retape\[remote\]'"):
        open_place("s3://bucket/run")


def test_a_worker_without_a_snapshot_library_does_not_start(tmp_path, monkeypatch):
    made = replace(job(tmp_path, steps=2), snapshots="nonsense://bucket/run")
    worker = Worker(made)
    worker.prepare()
    assert isinstance(together([worker])[0].failure.rebuild(), ConfigError)
