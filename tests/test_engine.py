"""Starting Ray, with a Ray that is late."""

import pytest

from retape.cluster.engine import start
from retape.cluster.errors import RunError


class Late:
    """A Ray that comes up when it is started once more than it ``fails``."""

    def __init__(self, fails):
        self.fails, self.calls = fails, []

    def init(self, **options):
        self.calls.append(options)
        if len(self.calls) <= self.fails:
            raise Exception("the node timed out")

    def shutdown(self):
        self.calls.append("shutdown")


def test_a_ray_that_is_late_is_started_once_more():
    ray = Late(1)
    start(ray, num_cpus=2)
    assert ray.calls == [{"address": "local", "num_cpus": 2}, "shutdown", {"address": "local", "num_cpus": 2}]


def test_a_ray_that_does_not_start_twice_is_an_error_that_names_the_cause_and_the_cures():
    with pytest.raises(RunError, match=r"twice \(the node timed out\).*free memory.*--address"):
        start(Late(3))
