"""Makes frames of what is to be sent to one node, and arrays of the frames that come from it, over a connection that never
blocks."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import MessageError
from .bfloat16 import widened
from .frames import HEADER_BYTES, Frame, checksum, unpack
from .mesh import Link, lost

# Where the values of a frame from a node go.
Place = Callable[[int, Frame], np.ndarray]


@dataclass(frozen=True)
class Piece:
    """A chunk that is to be sent: ``values`` lie ``offset`` bytes into a share of a span, and ``at`` bytes into a slot."""

    kind: int
    slot: int
    span: int
    offset: int
    values: np.ndarray
    at: int = 0


@dataclass
class Traffic:
    """What is on its way to and from ``node`` in one operation of a generation; ``missing_bytes`` are still to come."""

    node: int
    link: Link
    generation: int
    operation: int
    missing_bytes: int
    outgoing: deque[Piece] = field(default_factory=deque)
    _sending: list[memoryview] = field(default_factory=list, init=False)
    _header: bytearray = field(default_factory=lambda: bytearray(HEADER_BYTES), init=False)
    _frame: Frame | None = field(default=None, init=False)
    _into: np.ndarray | None = field(default=None, init=False)
    _buffer: np.ndarray | None = field(default=None, init=False)
    _filled_bytes: int = field(default=0, init=False)

    @property
    def is_sending(self) -> bool:
        """Whether anything is still to be sent."""
        return bool(self._sending or self.outgoing)

    def send(self, encoded: Callable[[Piece, int], np.ndarray]) -> None:
        """Sends as much as the connection takes; ``encoded`` says what travels of a piece to a node."""
        try:
            while self.is_sending:
                if not self._sending:
                    piece = self.outgoing.popleft()
                    data = encoded(piece, self.node).view(np.uint8).data
                    place = piece.kind, piece.slot, piece.span, piece.offset
                    frame = Frame(self.generation, self.operation, *place, len(data), checksum(data))
                    self._sending = [memoryview(frame.pack(self.link.key)), data]
                sent = self.link.connection.sendmsg(self._sending)
                while self._sending and sent >= len(self._sending[0]):
                    sent -= len(self._sending.pop(0))
                if sent:
                    self._sending[0] = self._sending[0][sent:]
        except BlockingIOError:
            return
        except OSError as error:
            raise lost(self.node, error) from None

    def receive(self, place: Place) -> Iterator[tuple[Frame, np.ndarray]]:
        """The frames that are complete, with their values, one after the other, until nothing more is there to read."""
        while True:
            if self._frame is None:
                if not self._is_filled(memoryview(self._header)):
                    return
                frame = unpack(self._header, self.link.key, generation=self.generation, operation=self.operation)
                self._frame, self._into = frame, place(self.node, frame)
                # What is not rounded is received where it belongs.
                is_rounded = frame.length != self._into.nbytes
                self._buffer = np.empty(frame.length // 2, np.uint16) if is_rounded else self._into
            assert self._buffer is not None and self._into is not None
            payload = self._buffer.view(np.uint8).data
            if not self._is_filled(payload):
                return
            frame, self._frame = self._frame, None
            if checksum(payload) != frame.checksum:
                raise MessageError(
                    f"a message of {frame.length} bytes from node {self.node} is damaged: its checksum does not match"
                )
            if self._buffer is not self._into:
                self._into[...] = widened(self._buffer)
            yield frame, self._into

    def _is_filled(self, buffer: memoryview) -> bool:
        """Whether ``buffer`` is full now; receives what is there."""
        while self._filled_bytes < len(buffer):
            try:
                count = self.link.connection.recv_into(buffer[self._filled_bytes :])
            except BlockingIOError:
                return False
            except OSError as error:
                raise lost(self.node, error) from None
            if not count:
                raise lost(self.node)
            self._filled_bytes += count
        self._filled_bytes = 0
        return True
