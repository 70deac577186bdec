"""Programs in the shape of well-known networks, with bytes and costs of all sizes, for tests and benchmarks of planners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from retape.checkpoint.program import Program


class Sketch:
    """A forward sweep being drawn. `joint` adds the reverse sweep: contributions to cotangents, their sums, gradients."""

    def __init__(self) -> None:
        self.program = Program()
        self.ops: list[tuple[int, tuple[int, ...], tuple[int, ...], float, int]] = []

    def op(
        self,
        size: int,
        inputs: Sequence[int] = (),
        *,
        cost: float,
        reads: str = "inputs",
        weight: int = 0,
        workspace: int = 0,
    ) -> int:
        """Add an op whose reverse reads its "inputs", its "output", or "nothing"; `weight` is the bytes of a parameter."""
        v = self.program.add(size, tuple(dict.fromkeys(inputs)), cost=cost, workspace=workspace, label="forward")
        read = {"inputs": tuple(inputs), "output": (v,), "nothing": ()}[reads]
        self.ops.append((v, tuple(inputs), read, cost, weight))
        return v

    def joint(self) -> Program:
        """Return the forward-and-reverse program; the last op is the loss; it and all gradients are outputs."""
        program, sizes = self.program, self.program.sizes
        loss = len(program) - 1
        cotangents = {loss: program.add(sizes[loss], (), cost=0.1, label="seed")}
        gradients = []
        forward = loss + 1
        for v, inputs, read, cost, weight in reversed(self.ops):
            cotangent = cotangents.pop(v, -1)
            if cotangent < 0:
                continue
            if weight:
                gradients.append(program.add(weight, (cotangent, *read), cost=cost, label="gradient"))
            for u in inputs:
                needs = tuple(dict.fromkeys((cotangent, *read)))
                made = program.add(sizes[u], needs, cost=cost, label="reverse")
                if u in cotangents:
                    made = program.add(sizes[u], (cotangents[u], made), cost=0.1, overwrites=cotangents[u], label="add")
                cotangents[u] = made
        return replace(program, outputs=(loss, *gradients), forward=forward)


def transformer(layers: int = 12, width: int = 64, length: int = 64) -> Program:
    """A stack of pre-norm attention and feed-forward blocks; attention's scores are as large as the length squared."""
    sketch = Sketch()
    stream = width * length
    x = sketch.op(stream, cost=1.0, weight=width * 100)
    for _ in range(layers):
        h = sketch.op(stream, [x], cost=2.0)
        q, k, v = (sketch.op(stream, [h], cost=8.0, weight=width * width // 16) for _ in range(3))
        scores = sketch.op(4 * length * length, [q, k], cost=8.0)
        shares = sketch.op(4 * length * length, [scores], cost=5.0, reads="output", workspace=length * length)
        mixed = sketch.op(stream, [shares, v], cost=8.0)
        x = sketch.op(
            stream, [sketch.op(stream, [mixed], cost=8.0, weight=width * width // 16), x], cost=1.0, reads="nothing"
        )
        h = sketch.op(stream, [x], cost=2.0)
        up = sketch.op(4 * stream, [h], cost=32.0, weight=width * width // 4)
        bent = sketch.op(4 * stream, [up], cost=12.0)
        x = sketch.op(stream, [sketch.op(stream, [bent], cost=32.0, weight=width * width // 4), x], cost=1.0, reads="nothing")
    sketch.op(8, [x], cost=1.0)
    return sketch.joint()


def unet(depth: int = 5, convolutions: int = 3) -> Program:
    """Convolutions down and up again, with a long skip at every level."""
    sketch = Sketch()
    size = 1 << (2 * depth + 6)
    x = sketch.op(size, cost=4.0)
    skips = []

    def convolve(x: int, level: int) -> int:
        y = sketch.op(size >> level, [x], cost=30.0, weight=64 << level, workspace=size >> (level + 2))
        return sketch.op(size >> level, [sketch.op(size >> level, [y], cost=3.0)], cost=1.0, reads="output")

    for level in range(depth):
        for _ in range(convolutions):
            x = convolve(x, level)
        skips.append(x)
        x = sketch.op(size >> (level + 2), [x], cost=1.0)
    for level in reversed(range(depth)):
        x = sketch.op(size >> level, [x], cost=8.0, weight=64 << level)
        x = sketch.op(2 * size >> level, [x, skips[level]], cost=2.0, reads="nothing")
        for _ in range(convolutions):
            x = convolve(x, level)
    sketch.op(8, [x], cost=1.0)
    return sketch.joint()


def lstm(steps: int = 60, width: int = 100) -> Program:
    """A long recurrence of two states, its parameters' gradients summed over the steps."""
    sketch = Sketch()
    h, c = sketch.op(width, cost=0.5), sketch.op(width, cost=0.5)
    weights = sketch.op(2 * width, cost=0.5, weight=2 * width)
    for _ in range(steps):
        gates = sketch.op(4 * width, [h, weights], cost=16.0)
        keep, take = sketch.op(width, [gates], cost=2.0, reads="output"), sketch.op(width, [gates], cost=2.0, reads="output")
        new, out = sketch.op(width, [gates], cost=2.0, reads="output"), sketch.op(width, [gates], cost=2.0, reads="output")
        kept, taken = sketch.op(width, [keep, c], cost=1.0), sketch.op(width, [take, new], cost=1.0)
        c = sketch.op(width, [kept, taken], cost=1.0, reads="nothing")
        h = sketch.op(width, [out, sketch.op(width, [c], cost=3.0, reads="output")], cost=1.0)
    sketch.op(8, [h], cost=1.0)
    return sketch.joint()


def shared_weight(steps: int = 100, width: int = 100) -> Program:
    """A loop whose steps all read the state before them and one weight that was computed first."""
    sketch = Sketch()
    weight, x = sketch.op(width, cost=1.0), sketch.op(width, cost=1.0)
    for _ in range(steps):
        x = sketch.op(width, [x, weight], cost=1.0)
    sketch.op(8, [x], cost=1.0)
    return sketch.joint()


def densenet(blocks: int = 3, layers: int = 8, growth: int = 40) -> Program:
    """Blocks in which every layer reads all layers before it, joined."""
    sketch = Sketch()
    size = growth << blocks
    x = sketch.op(2 * size, cost=4.0)
    for block in range(blocks):
        size = growth << (blocks - block)
        parts = [x]
        for _ in range(layers):
            joined = sketch.op(sum(sketch.program.sizes[p] for p in parts), parts, cost=1.0, reads="nothing")
            bent = sketch.op(sketch.program.sizes[joined], [joined], cost=2.0)
            narrow = sketch.op(2 * size, [bent], cost=8.0 + len(parts), weight=16)
            parts.append(sketch.op(size, [narrow], cost=12.0, weight=16))
        joined = sketch.op(sum(sketch.program.sizes[p] for p in parts), parts, cost=1.0, reads="nothing")
        x = sketch.op(sketch.program.sizes[joined] // 4, [joined], cost=6.0, weight=16)
    sketch.op(8, [x], cost=1.0)
    return sketch.joint()


def inception(blocks: int = 10, size: int = 240) -> Program:
    """Blocks of four branches of different depth side by side, joined."""
    sketch = Sketch()
    x = sketch.op(size, cost=4.0)
    for _ in range(blocks):
        ends = []
        for depth in range(4):
            y = x
            for k in range(depth + 1):
                y = sketch.op(size // (2 + k), [y], cost=6.0 + 3 * k, weight=16)
                y = sketch.op(size // (2 + k), [y], cost=1.0, reads="output")
            ends.append(y)
        x = sketch.op(sum(sketch.program.sizes[y] for y in ends) // 2, ends, cost=3.0)
    sketch.op(8, [x], cost=1.0)
    return sketch.joint()


def tree_lstm(depth: int = 5, width: int = 100) -> Program:
    """A tree whose nodes each join the two states of two children."""
    sketch = Sketch()

    def node(level: int) -> tuple[int, int]:
        if not level:
            c = sketch.op(width, cost=6.0, weight=width // 10)
            return c, sketch.op(width, [c], cost=2.0, reads="output")
        (c1, h1), (c2, h2) = node(level - 1), node(level - 1)
        gates = sketch.op(5 * width, [h1, h2], cost=20.0)
        parts = [sketch.op(width, [gates], cost=2.0, reads="output") for _ in range(3)]
        kept = [sketch.op(width, [part, c], cost=1.0) for part, c in zip(parts, (c1, c2), strict=False)]
        c = sketch.op(width, [*kept, parts[2]], cost=1.0, reads="nothing")
        return c, sketch.op(width, [sketch.op(width, [c], cost=2.0, reads="output"), parts[2]], cost=1.0)

    sketch.op(8, node(depth), cost=1.0)
    return sketch.joint()


NETWORKS: dict[str, Callable[[], Program]] = {
    "transformer": transformer,
    "U-Net": unet,
    "LSTM": lstm,
    "DenseNet": densenet,
    "Inception": inception,
    "tree-LSTM": tree_lstm,
}
