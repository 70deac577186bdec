import os
import signal
import struct
import subprocess
import sys
import time

import msgpack
import numpy as np
import pytest

from retape.cluster import snapshot as snapshots
from retape.cluster.errors import SnapshotError
from retape.cluster.snapshot import Snapshot, latest, load, read, save


def example(step=3, width=4):
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


def test_a_snapshot_cut_anywhere_is_refused(tmp_path):
    path = save(tmp_path, example())
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(SnapshotError, match="cut short|not a retape snapshot"):
            read(path)


def test_a_snapshot_with_any_altered_byte_is_refused(tmp_path):
    path = save(tmp_path, example())
    whole = bytearray(path.read_bytes())
    for place in range(0, len(whole), 5):
        altered = whole.copy()
        altered[place] ^= 0x10
        path.write_bytes(altered)
        with pytest.raises(SnapshotError):
            read(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(SnapshotError, match="altered"):
        read(path)


def test_a_newer_format_is_named_with_its_number(tmp_path):
    path = save(tmp_path, example())
    content = bytearray(path.read_bytes())
    payload = bytes(content[52:])
    content[8:12] = struct.pack("<I", 7)
    content[20:52] = snapshots._digest(7, payload)
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match="format 7.*reads up to 1.*update retape"):
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
    (tmp_path / ".step-000000003.snapshot.123.partial").write_bytes(b"half")
    path, damaged = latest(tmp_path)
    assert path == good
    assert [bad.name in str(error) for error in damaged] == [True]
    assert not list(tmp_path.glob(".*"))
    good.write_bytes(b"")
    with pytest.raises(SnapshotError, match="no good snapshot"):
        latest(tmp_path)
    with pytest.raises(SnapshotError, match="there is no snapshot"):
        latest(tmp_path / "nowhere")


def test_an_unwritable_folder_is_an_error_that_names_it(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    with pytest.raises(SnapshotError, match="could not be written"):
        save(blocker / "snapshots", example())


def test_the_payload_is_plain_msgpack(tmp_path):
    path = save(tmp_path, example())
    fields = msgpack.unpackb(path.read_bytes()[52:])
    assert set(fields) == {"step", "order", "random", "settings", "params", "state"}


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
