"""Makes connections between the nodes of a run: each node's leader is joined to every other by one TCP connection.

Both ends prove that they know the job's token before a byte of a gradient travels; what cannot prove it is refused and the
wait goes on. Every wait has a deadline and an abort check.
"""

import hmac
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import AbortedError, DeadlineError, MessageError
from .frames import GREETING_BYTES, PROOF_BYTES, connection_key, greeting, proof, read_greeting

TICK_SECONDS = 0.05
_GREETING_SECONDS = 1.0

Address = tuple[str, int]


def listen(host: str) -> socket.socket:
    """A listening socket on a free port of ``host``, one interface of this node: never on all of them."""
    if host in ("", "0.0.0.0", "::"):
        raise ValueError(f"the reduce port would be open to the world on {host!r}: name the cluster's interface")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind((host, 0))
    listener.listen(64)
    return listener


@dataclass(frozen=True)
class Link:
    """A connection to another node, and the key that its frames are made with."""

    connection: socket.socket
    key: bytes


@dataclass(frozen=True)
class Waiting:
    """How long to wait, and what to look at meanwhile: ``check`` raises ``AbortedError`` when it is time to give up."""

    deadline_seconds: float
    check: Callable[[], Any]

    def until(self) -> float:
        """When the wait ends, on the monotonic clock."""
        return time.monotonic() + self.deadline_seconds


def connect(
    node: int, addresses: Sequence[Address], token: str, generation: int, listener: socket.socket, waiting: Waiting
) -> dict[int, Link]:
    """The links of node ``node`` to all others, by number: it calls those before it, and is called by those after it.

    Raises ``DeadlineError`` that names the nodes still missing, ``AbortedError``.
    """
    links: dict[int, Link] = {}
    until = waiting.until()
    try:
        for peer in range(node):
            links[peer] = _call(addresses[peer], node, token, generation, waiting, until)
        listener.settimeout(TICK_SECONDS)
        while len(links) < len(addresses) - 1:
            missing = [peer for peer in range(len(addresses)) if peer != node and peer not in links]
            _check(waiting, until, f"for nodes {missing} to connect")
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                answered = _answer(connection, node, token, generation)
                if answered is not None and answered[0] in missing:
                    links[answered[0]] = answered[1]
                else:
                    connection.close()
    except BaseException:
        close(links)
        raise
    for link in links.values():
        link.connection.setblocking(False)
        link.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return links


def close(links: dict[int, Link]) -> None:
    """Closes the connections; the other ends notice at once."""
    for link in links.values():
        with suppress(OSError):
            link.connection.shutdown(socket.SHUT_RDWR)
        link.connection.close()


def wait(selector: selectors.BaseSelector, waiting: Waiting, until: float, errand: str) -> list[Any]:
    """The sockets that are ready, or nothing after a tick; checks the deadline and for an abort."""
    _check(waiting, until, errand)
    return selector.select(TICK_SECONDS)


def _call(address: Address, node: int, token: str, generation: int, waiting: Waiting, until: float) -> Link:
    while True:
        _check(waiting, until, f"for {address[0]}:{address[1]} to answer")
        try:
            connection = socket.create_connection(address, timeout=_GREETING_SECONDS)
        except OSError:
            time.sleep(TICK_SECONDS)
            continue
        try:
            mine = greeting(generation, node)
            connection.sendall(mine)
            theirs = _receive(connection, GREETING_BYTES)
            key = connection_key(token, mine, theirs)
            if not hmac.compare_digest(_receive(connection, PROOF_BYTES), proof(key, "server")):
                raise MessageError(f"{address[0]}:{address[1]} does not know the job's token")
            connection.sendall(proof(key, "client"))
            return Link(connection, key)
        except (OSError, MessageError):
            # Perhaps the node there still belongs to the formation before: it will come.
            connection.close()
            time.sleep(TICK_SECONDS)


def _answer(connection: socket.socket, node: int, token: str, generation: int) -> tuple[int, Link] | None:
    """The caller's node and the link to it, or None for a caller that cannot prove that it belongs to this run."""
    connection.settimeout(_GREETING_SECONDS)
    try:
        theirs = _receive(connection, GREETING_BYTES)
        caller = read_greeting(theirs, generation=generation)
        mine = greeting(generation, node)
        key = connection_key(token, theirs, mine)
        connection.sendall(mine + proof(key, "server"))
        if not hmac.compare_digest(_receive(connection, PROOF_BYTES), proof(key, "client")):
            return None
    except (OSError, MessageError):
        return None
    return caller, Link(connection, key)


def _receive(connection: socket.socket, count: int) -> bytes:
    message = b""
    while len(message) < count:
        piece = connection.recv(count - len(message))
        if not piece:
            raise MessageError(f"a connection ended after {len(message)} of {count} bytes")
        message += piece
    return message


def _check(waiting: Waiting, until: float, errand: str) -> None:
    waiting.check()
    if time.monotonic() > until:
        raise DeadlineError(f"waited {waiting.deadline_seconds:g} s {errand}")


def lost(peer: int, error: Exception | None = None) -> AbortedError:
    """The error for a node whose connection ended."""
    return AbortedError(f"the connection to node {peer} ended" + (f": {error}" if error else ""))
