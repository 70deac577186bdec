"""Temporary folders: gone with their process, or with the next one where that was killed."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from retape.cluster.scratch import scratch_folder

OWNER = """
import sys, time
from retape.cluster.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "inside").mkdir()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def below(tmp_path, monkeypatch):
    """Where temporary folders are made meanwhile, here and in processes that are started."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_killed_owners_folder_is_removed_by_the_next_and_a_living_ones_is_not(below):
    (below / "retape-other").mkdir()  # nobody has said whose it is
    with subprocess.Popen(
        [sys.executable, "-P", "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdin is not None and owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        with scratch_folder("kind-") as own:
            assert own.name.startswith("retape-kind-") and (folder / "inside").is_dir()
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert (folder / "inside").is_dir()
    with scratch_folder():
        assert not folder.exists()
    assert [path.name for path in below.iterdir()] == ["retape-other"]
