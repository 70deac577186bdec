"""What counts as a sign of life: answers, and the work of a process that cannot answer."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retape.cluster.processes import Process, Work, own_process
from retape.cluster.vigil import Signs

QUARTERS = [number / 4 for number in range(1, 41)]  # ten seconds of looks


def silence(work, patience=300.0):
    """The silence after ten seconds without an answer, in which a look at each quarter finds what ``work`` says."""
    signs = Signs.at(0.0)
    for now in QUARTERS:
        signs = signs.look(now, work(now))
    return signs.silent_seconds(10.0, patience_seconds=patience)


@pytest.mark.parametrize(
    ("work", "seconds"),
    [
        (lambda now: Work(100 + now), 0.0),  # computes
        (lambda now: Work(100 + 0.09 * now), 0.0),  # computes, on a core that eleven share
        (lambda now: Work(100 + 0.01 * now), 10.0),  # hangs: only the threads of Ray run
        (lambda now: Work(100.0), 10.0),
        (lambda now: Work(100 + min(now, 6.0)), 4.0),
        (lambda now: Work(100.0, is_waiting=True), 0.0),  # for a disk, or for a core that many share
        (lambda now: Work(100 + now, is_stopped=now > 7), 3.0),
    ],
)
def test_a_worker_that_does_not_answer_lives_as_long_as_it_works(work, seconds):
    assert silence(work) == seconds


def test_work_alone_is_no_sign_of_life_for_ever():
    assert silence(lambda now: Work(now), patience=9.0) == 10.0


def test_an_answer_ends_the_silence():
    signs = Signs.at(0.0).look(1.0, Work(5.0)).answer(4.0)
    assert signs.silent_seconds(6.0, patience_seconds=300.0) == 2.0


def test_the_system_tells_a_process_that_computes_from_one_that_stands_still():
    child = subprocess.Popen([sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.read(1)
        born = int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19])
        process = Process(child.pid, born)
        first = work = process.work()
        assert first is not None and work is not None and not first.is_stopped
        while work.cpu_seconds <= first.cpu_seconds:
            time.sleep(0.01)
            work = process.work()
            assert work is not None
        child.send_signal(signal.SIGSTOP)
        while not work.is_stopped:
            time.sleep(0.01)
            work = process.work()
            assert work is not None
        assert process.is_alive and Process(child.pid, born + 1).work() is None
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
    assert process.work() is None and not process.is_alive and own_process().is_alive
