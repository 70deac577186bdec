import socket
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest

from retape.cluster import ConfigError, latest_snapshot
from retape.cluster.folder import held, set_aside, set_aside_newer
from retape.cluster.processes import Process
from retape.cluster.snapshot import CLAIM_NAME, Snapshot, claimed, save

_HOLDER = """
import sys
from retape.cluster.folder import held
with held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def saved(out, *steps):
    params = {"w": np.zeros(2)}
    return [save(out / "snapshots", Snapshot(step, params, {}, {}), keep=99) for step in steps]


def test_a_second_job_on_the_same_folder_is_refused_until_the_first_is_gone(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=rf"process {holder.pid} on .*is training into"), held(tmp_path):
            pass
        holder.kill()
    finally:
        holder.kill()
        holder.communicate()
    with held(tmp_path) as folder:
        assert folder == tmp_path.absolute()
        with pytest.raises(ConfigError, match="is training into"), held(tmp_path):
            pass


def test_who_holds_a_folder_removes_what_killed_writers_left(tmp_path):
    saved(tmp_path, 1)
    (tmp_path / "snapshots" / ".step-000000007.snapshot.12.partial").write_bytes(b"half")
    with held(tmp_path):
        assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["step-000000001.snapshot"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="file/out cannot be written"), held(tmp_path / "file" / "out"):
        pass


def test_snapshots_after_the_one_that_is_resumed_from_do_not_pass_for_the_newest(tmp_path):
    paths = saved(tmp_path, 1, 2, 3)
    paths[2].write_bytes(b"damaged")
    set_aside_newer(tmp_path, tmp_path / "snapshots", paths[0])
    assert latest_snapshot(tmp_path / "snapshots") == (paths[0], [])
    assert sorted(path.name for path in (tmp_path / "earlier-1").iterdir()) == [path.name for path in paths[1:]]
    set_aside(tmp_path)
    assert (tmp_path / "earlier-2" / "snapshots").is_dir() and not (tmp_path / "snapshots").exists()


@pytest.fixture(params=["memory", "folder"])
def place(request, tmp_path):
    """A place for snapshots, and whether a file is there."""
    if request.param == "folder":
        yield tmp_path / "elsewhere", lambda name: (tmp_path / "elsewhere" / name).exists()
        return
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    yield "memory://claims/run", lambda name: store.exists(f"/claims/run/{name}")
    store.rm("/claims", recursive=True)


def folders(tmp_path, *names):
    for name in names:
        (tmp_path / name).mkdir()
    return [tmp_path / name for name in names]


def test_two_jobs_at_one_place_for_snapshots_are_refused_until_the_first_is_over(place, tmp_path):
    where, is_there = place
    first, second = folders(tmp_path, "first", "second")
    with claimed(where, first):
        with pytest.raises(ConfigError, match=rf"those of another job \(process \d+ on .*, which trains into {first}\)"):
            with claimed(where, second):
                pass
        assert is_there(CLAIM_NAME)
    assert not is_there(CLAIM_NAME)
    with claimed(where, second):
        assert is_there(CLAIM_NAME)


def lost(monkeypatch, where, out, host):
    """The claim of a job on a machine of that name, whose process is no more; it stays while this is kept."""
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: host)
        patch.setattr("retape.cluster.snapshot.claim.own_process", lambda: Process(2**22 + 1, 0))
        claim = claimed(where, out)
        claim.__enter__()
    return claim


@pytest.mark.parametrize("host, refusal", [("elsewhere", "another job"), (socket.gethostname(), None)])
def test_a_killed_jobs_claim_is_taken_over_by_itself_and_on_its_machine_by_others(
    place, tmp_path, monkeypatch, host, refusal
):
    where, _ = place
    first, second = folders(tmp_path, "first", "second")
    kept = [lost(monkeypatch, where, first, host)]
    with claimed(where, first):
        pass
    kept.append(lost(monkeypatch, where, first, host))
    with pytest.raises(ConfigError, match=refusal) if refusal else nullcontext(), claimed(where, second):
        pass
