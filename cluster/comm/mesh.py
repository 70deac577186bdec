"""Makes connections between the nodes of a run: each node's leader is joined to every other by one TCP connection.

Both ends prove that they know the job's token before a byte of a gradient travels; what cannot prove it is refused and the
wait goes on. Every wait has a deadline and an abort check.
"""

import hmac
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
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
        missing = {peer for peer in range(len(addresses)) if peer != node} - links.keys()
        for caller in _proven_callers(node, token, generation, listener, waiting, until, missing):
            links[caller.node] = Link(caller.connection, caller.key)
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


@dataclass(eq=False)
class _Caller:
    """A connection that has ``until`` then to prove that it belongs to the run; its ``node`` and ``key`` come on the way."""

    connection: socket.socket
    until: float
    said: bytes = b""
    node: int = -1
    key: bytes = b""

    def hear(self, node: int, token: str, generation: int) -> bool:
        """Whether what it has said until now proves it. Raises ``MessageError`` or ``OSError`` for one to be refused."""
        piece = self.connection.recv(GREETING_BYTES + PROOF_BYTES - len(self.said))
        if not piece:
            raise MessageError(f"a connection ended after {len(self.said)} bytes of its greeting")
        self.said += piece
        theirs, proven = self.said[:GREETING_BYTES], self.said[GREETING_BYTES:]
        if not self.key and len(theirs) == GREETING_BYTES:
            self.node, mine = read_greeting(theirs, generation=generation), greeting(generation, node)
            self.key = connection_key(token, theirs, mine)
            self.connection.sendall(mine + proof(self.key, "server"))
        if len(proven) < PROOF_BYTES:
            return False
        if not hmac.compare_digest(proven, proof(self.key, "client")):
            raise MessageError(f"a caller that says it is node {self.node} does not know the job's token")
        return True


def _proven_callers(
    node: int, token: str, generation: int, listener: socket.socket, waiting: Waiting, until: float, missing: set[int]
) -> Iterator[_Caller]:
    """Callers of the ``missing`` nodes as they prove themselves, until none is missing; a stranger delays nobody."""
    listener.setblocking(False)
    callers: set[_Caller] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        try:
            while missing:
                for key, _ in wait(selector, waiting, until, f"for nodes {sorted(missing)} to connect"):
                    if key.fileobj is listener:
                        with suppress(OSError):  # it has gone again
                            caller = _Caller(listener.accept()[0], time.monotonic() + _GREETING_SECONDS)
                            caller.connection.setblocking(False)
                            selector.register(caller.connection, selectors.EVENT_READ, caller)
                            callers.add(caller)
                        continue
                    caller = key.data
                    try:
                        is_proven = caller.hear(node, token, generation)
                    except (OSError, MessageError):
                        caller.until = 0.0
                        continue
                    if is_proven and caller.node in missing:
                        selector.unregister(caller.connection)
                        callers.remove(caller)
                        missing.remove(caller.node)
                        yield caller
                for late in [caller for caller in callers if caller.until < time.monotonic()]:
                    selector.unregister(late.connection)
                    callers.remove(late)
                    late.connection.close()
        finally:
            for caller in callers:
                caller.connection.close()


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
