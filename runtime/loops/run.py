"""Runs a loop: on a trail with held states, anywhere else step by step as it stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .. import trees
from ..array import Array, entered
from ..levels import innermost
from ..tape import Tape
from ..trail import Trail
from .body import Body, Outputs, copied, flat, form_of
from .on_trail import Choose, LoopOnTrail


def run(body: Body, carry: Any, choose: Choose) -> tuple[Any, Any]:
    """Return the last carry and the outputs of all steps, stacked.

    Where gradients are recorded without a budget, `choose` says which states are held and the other steps run again. Under
    a budget a loop is one call of the tape, if its steps are many; the steps of others are recorded as they stand, and in
    forward mode too.
    """
    form, leaves = form_of(body.name, carry)
    # In a step of another loop, what comes from around that one is an input of the step.
    leaves = [entered(copied(leaf)) for leaf in leaves]
    body = replace(body, xs=[entered(x) for x in body.xs])
    level = innermost()
    if type(level) is Trail and body.length != 0:
        return LoopOnTrail(level, body, form, choose).forward(leaves)
    if type(level) is Tape and level.loops is not None and body.length != 0:
        made = level.loops.record(level, body, form, leaves)
        if made is not None:
            return made
    outputs = Outputs(body.name, body.length)
    number = 0
    while number != body.length:
        tree = form.tree(leaves)
        if body.condition is not None and not body.condition(tree):
            break
        made = body.step(tree, body.item(number, [x[number] for x in body.xs]))
        leaves, output = form.split(made, number)
        values, treedef = flat(output)
        outputs.add(number, [value if type(value) is Array else np.asarray(value) for value in values], treedef)
        number += 1
    return form.tree(leaves), trees.unflatten(outputs.treedef, outputs.leaves())
