"""Makes the sum of all nodes' gradients over TCP: a direct reduce-scatter and all-gather, added up in one fixed order.

Node j adds up the j-th share of every span: it receives that share of every other node's partial sums, adds them up by the
expression that all nodes know, chunk by chunk while they come, and sends each finished chunk to all. Each node moves 2 N (n
- 1) / n bytes, as in a ring, but the order of the additions does not depend on the nodes' places (Thakur, Rabenseifner and
Gropp, "Optimization of collective communication operations in MPICH", 2005, describe the pattern).
"""

import selectors
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import MessageError
from .adding import add_up
from .bfloat16 import rounded, widened
from .feed import Feed
from .frames import FIGURES, PART, SUM, Frame
from .layout import Span
from .mesh import Address, Waiting, close, connect, wait
from .sums import Expression
from .traffic import Piece, Place, Traffic

CHUNK_BYTES = 2**18
WIRES = ("float32", "bfloat16")


@dataclass
class _Share:
    """This node's share of one span: where the sum goes, ``at`` bytes into a slot, the partial sums of all nodes that are
    added, and how many elements of each are there."""

    at: int
    out: np.ndarray
    partials: Sequence[int]
    came: dict[tuple[int, int], int]
    sources: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    done: int = 0

    def bring(self, node: int, parts: Sequence[np.ndarray]) -> None:
        """Takes a node's partial sums, whole."""
        for slot, part in enumerate(parts):
            self.sources[node, slot], self.came[node, slot] = part, part.size

    def source(self, node: int, slot: int) -> np.ndarray:
        """Where a partial sum of another node is received."""
        found = self.sources.get((node, slot))
        if found is None:
            found = self.sources[node, slot] = np.empty(self.out.size, self.out.dtype)
        return found

    def ordered(self, here: slice) -> list[np.ndarray]:
        """A piece of all partial sums, node by node."""
        return [self.sources[node, slot][here] for node, count in enumerate(self.partials) for slot in range(count)]


# What to do with the values of a frame from a node; it returns how many of the missing bytes they are.
Came = Callable[[int, Frame, np.ndarray], int]


class Net:
    """One node's end of the network: ``node`` of ``len(addresses)``, whose leaders listen at ``addresses``.

    ``partials`` is how many partial sums each node brings, and ``total`` the expression that adds them all up, node by
    node. With ``wire="bfloat16"`` float32 gradients travel rounded to half their size, and what the rounding left over is
    added the next time; all nodes still get the same bits, but they depend on the number of nodes.
    """

    def __init__(
        self,
        node: int,
        addresses: Sequence[Address],
        listener: socket.socket,
        *,
        token: str,
        generation: int,
        partials: Sequence[int],
        total: Expression,
        waiting: Waiting,
        wire: str = "float32",
    ) -> None:
        """Connects to the other nodes. Raises ``DeadlineError`` that names those that did not come, ``AbortedError``."""
        if wire not in WIRES:
            raise ValueError(f"wire is {wire!r}; it must be one of {', '.join(WIRES)}")
        self.node, self.nodes = node, len(addresses)
        self._partials, self._total, self._waiting, self._wire = partials, total, waiting, wire
        self._generation, self._operation = generation, 0
        self._errors: dict[tuple[int, int, int, int], np.ndarray] = {}
        self._links = connect(node, addresses, token, generation, listener, waiting)

    def all_reduce(
        self,
        spans: Sequence[Span],
        parts: Sequence[Sequence[np.ndarray]],
        results: Sequence[np.ndarray],
        *,
        divisor: float = 1.0,
        combine: np.ufunc = np.add,
        feed: Feed | None = None,
    ) -> None:
        """Adds up this node's ``parts[span][k]`` and those of all others into ``results[span]``, divided by ``divisor``.

        With a ``feed``, this node's parts of a span are there once the feed says so; what is there travels meanwhile. All
        arrays are flat. Every node must call this as often as the others, with the same spans. Raises ``DeadlineError``
        when nothing comes from a node for that long, ``AbortedError``, and ``MessageError`` for what is forged or damaged.
        """
        shares = [self._share(span, results[number]) for number, span in enumerate(spans)]
        mine = sum(span.share(self.node, self.nodes).nbytes for span in spans)
        peers = self._begin(
            lambda peer: self._partials[peer] * mine + sum(span.share(peer, self.nodes).nbytes for span in spans)
        )

        def send(number: int) -> None:
            span = spans[number]
            for peer, state in peers.items():
                there = span.share(peer, self.nodes)
                here = _within(span, there)
                block = CHUNK_BYTES // span.dtype.itemsize
                for start in range(0, here.stop - here.start, block):
                    for slot, part in enumerate(parts[number]):
                        values = part[here][start : start + block]
                        offset = start * span.dtype.itemsize
                        state.outgoing.append(Piece(PART, slot, number, offset, values, there.offset + offset))
            here = _within(span, span.share(self.node, self.nodes))
            shares[number].bring(self.node, [part[here] for part in parts[number]])
            self._add_what_came(shares[number], number, peers, divisor, combine)

        def place(peer: int, frame: Frame) -> np.ndarray:
            if frame.kind == FIGURES or frame.span >= len(spans):
                raise MessageError(f"a message of kind {frame.kind}, span {frame.span} came from node {peer} out of turn")
            span, share = spans[frame.span], shares[frame.span]
            if frame.kind == SUM:
                into = results[frame.span][_within(span, span.share(peer, self.nodes))]
            else:
                into = share.source(peer, frame.slot)
            start = frame.offset // span.dtype.itemsize
            count = frame.length // (2 if self._is_rounded(span.dtype) else span.dtype.itemsize)
            if start + count > into.size or (frame.kind == PART and start != share.came[peer, frame.slot]):
                raise MessageError(f"a message from node {peer} does not fit its place in span {frame.span}")
            return into[start : start + count]

        def came(peer: int, frame: Frame, values: np.ndarray) -> int:
            if frame.kind == PART:
                shares[frame.span].came[peer, frame.slot] += values.size
                self._add_what_came(shares[frame.span], frame.span, peers, divisor, combine)
            return values.nbytes

        if feed is None:
            for number in range(len(spans)):
                send(number)
        self._exchange(peers, place, came, feed, send)

    def spread(self, spans: Sequence[Sequence[Span]], view: Callable[[Span], np.ndarray]) -> None:
        """Lets every node have what each has in its ``spans``, node by node; ``view`` gives a span's values, flat."""
        peers = self._begin(lambda peer: sum(view(span).nbytes for span in spans[peer]))
        for number, span in enumerate(spans[self.node]):
            values, block = view(span), CHUNK_BYTES // span.dtype.itemsize
            for start in range(0, values.size, block):
                piece = Piece(SUM, 0, number, start * span.dtype.itemsize, values[start : start + block])
                for state in peers.values():
                    state.outgoing.append(piece)

        def place(peer: int, frame: Frame) -> np.ndarray:
            if frame.kind != SUM or frame.span >= len(spans[peer]):
                raise MessageError(f"a message of kind {frame.kind}, span {frame.span} came from node {peer} out of turn")
            into = view(spans[peer][frame.span])
            start, count = (number // into.itemsize for number in (frame.offset, frame.length))
            if start + count > into.size:
                raise MessageError(f"a message from node {peer} does not fit its place in span {frame.span}")
            return into[start : start + count]

        self._exchange(peers, place, lambda peer, frame, values: values.nbytes)

    def gather(self, figures: np.ndarray) -> dict[int, np.ndarray]:
        """Every other node's ``figures``, flat float64, by node; each node may bring another number of them."""
        peers = self._begin(lambda peer: -1)
        for state in peers.values():
            state.outgoing.append(Piece(FIGURES, 0, 0, 0, np.ascontiguousarray(figures, np.float64).ravel()))
        found: dict[int, np.ndarray] = {}

        def place(peer: int, frame: Frame) -> np.ndarray:
            if frame.kind != FIGURES:
                raise MessageError(f"a message of kind {frame.kind} came from node {peer} where figures were due")
            found[peer] = np.empty(frame.length // 8, np.float64)
            return found[peer]

        self._exchange(peers, place, lambda peer, frame, values: -1)
        return found

    def close(self) -> None:
        """Closes all connections; the other nodes' waits end with ``AbortedError``."""
        close(self._links)

    def _begin(self, missing_bytes: Callable[[int], int]) -> dict[int, Traffic]:
        """The traffic of a new operation with every other node, which has so many bytes to send."""
        self._operation += 1
        return {
            peer: Traffic(peer, link, self._generation, self._operation, missing_bytes(peer))
            for peer, link in self._links.items()
        }

    def _exchange(
        self,
        peers: dict[int, Traffic],
        place: Place,
        came: Came,
        feed: Feed | None = None,
        send: Callable[[int], None] = lambda span: None,
    ) -> None:
        """Sends everything that is queued and receives until no node's bytes are missing.

        ``place`` says where a frame's values go, ``came`` how many of the missing bytes they were. Spans that ``feed`` has
        are queued by ``send``.
        """
        with selectors.DefaultSelector() as selector:
            watched = dict.fromkeys(peers, 0)

            def watch() -> bool:
                for peer, state in peers.items():
                    # A node that has sent all may be at the next operation already: its frames wait until we are.
                    wanted = (selectors.EVENT_WRITE if state.is_sending else 0) | (
                        selectors.EVENT_READ if state.missing_bytes else 0
                    )
                    if wanted != watched[peer]:
                        if watched[peer]:
                            selector.unregister(state.link.connection)
                        if wanted:
                            selector.register(state.link.connection, wanted, peer)
                        watched[peer] = wanted
                return any(watched.values())

            if feed is not None:
                selector.register(feed.read_end, selectors.EVENT_READ, None)
            until = self._waiting.until()
            while watch() or (feed is not None and feed.missing):
                for key, events in wait(selector, self._waiting, until, "for the gradients of another node"):
                    if key.data is None:
                        assert feed is not None
                        for span in feed.take():
                            send(span)
                        continue
                    peer, state = key.data, peers[key.data]
                    if events & selectors.EVENT_WRITE:
                        state.send(self._encoded)
                    if events & selectors.EVENT_READ:
                        # One frame a turn: while more is added up, the way out must not run dry.
                        for frame, values in state.receive(place):
                            state.missing_bytes -= came(peer, frame, values)
                            break
                    until = self._waiting.until()
                if feed is not None and feed.missing:
                    until = self._waiting.until()  # it is this node that is not ready: its own affair

    def _share(self, span: Span, result: np.ndarray) -> _Share:
        mine = span.share(self.node, self.nodes)
        partials = list(enumerate(self._partials))
        came = {(node, slot): 0 for node, count in partials for slot in range(count)}
        return _Share(mine.offset, result[_within(span, mine)], self._partials, came)

    def _add_what_came(self, share: _Share, span: int, peers: dict[int, Traffic], divisor: float, combine: np.ufunc) -> None:
        ready = min(share.came.values())
        block = CHUNK_BYTES // share.out.itemsize
        while share.done < ready:
            here = slice(share.done, min(ready, share.done + block))
            out = share.out[here]
            add_up(self._total, share.ordered(here), out, divisor, combine)
            offset = share.done * out.itemsize
            piece = Piece(SUM, 0, span, offset, out, share.at + offset)
            if self._is_rounded(out.dtype):
                # This node, too, goes on with the rounded sum: all replicas have the same bits.
                words = self._rounded(piece, self.node)
                out[...] = widened(words)
                piece = replace(piece, values=words)
            for state in peers.values():
                state.outgoing.append(piece)
            share.done = here.stop

    def _is_rounded(self, dtype: np.dtype) -> bool:
        return self._wire == "bfloat16" and dtype == np.float32

    def _encoded(self, piece: Piece, node: int) -> np.ndarray:
        """What travels of a piece to a node."""
        if piece.kind == PART and self._is_rounded(piece.values.dtype):
            return self._rounded(piece, node)
        return piece.values

    def _rounded(self, piece: Piece, node: int) -> np.ndarray:
        place = (node, piece.kind, piece.slot, piece.at)
        error = self._errors.get(place)
        if error is None or error.size != piece.values.size:
            error = self._errors[place] = np.zeros(piece.values.size, np.float32)
        return rounded(piece.values, error)


def _within(span: Span, share: Span) -> slice:
    """Where a share lies among its span's elements."""
    start = (share.offset - span.offset) // span.dtype.itemsize
    return slice(start, start + share.count)
