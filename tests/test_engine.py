"""Starting Ray, with a Ray that is late, and joining one that is not there."""

import socket

import pytest

from retape.cluster.engine import join, start
from retape.cluster.errors import ConfigError, RunError


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


def test_an_address_where_nothing_answers_is_said_at_once_without_asking_ray():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ray = Late(0)
        for given in (address, f"ray://{address}"):
            with pytest.raises(RunError, match=f"no Ray cluster answers at {given} .*ray start --head"):
                join(ray, given)
        assert not ray.calls
        taken.listen()
        join(ray, address, namespace="mine")
    assert ray.calls == [{"address": address, "namespace": "mine"}]


def test_what_is_no_address_is_refused():
    class Strict:
        def init(self, address):
            raise ValueError(f"Invalid address format: {address}")

    with pytest.raises(ConfigError, match="'nowhere' is no address of a Ray cluster"):
        join(Strict(), "nowhere")
