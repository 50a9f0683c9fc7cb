"""Conformance of the embedding."""

import numpy as np

from refsim.conformance import laws
from refsim.conformance.laws import law, require
from refsim.conformance.subject import Subject

OP = "embedding"


def test_golden(subject: Subject) -> None:
    """out = refsim.run(plan, *operands) for every golden vector."""
    subject.golden()


def test_differential(subject: Subject) -> None:
    """out = refsim.run(plan, *operands) for every plan, shape and operand that the search finds."""
    subject.differential()


def test_exhaustive(subject: Subject) -> None:
    """out = refsim.run(plan, *operands) for all operands of up to 16 bits."""
    subject.exhaustive()


test_batch = law(laws.batch)
test_repeat = law(laws.repeat)
test_layouts = law(laws.layouts)


@law
def test_rows(evaluate, plan, operands):
    """out = onehot(ids) @ table: every row of the output is one of the table, unchanged."""
    ids, table = operands
    out = evaluate(ids, table)
    one_hot = ids[..., None] == np.arange(plan.num_embeddings)
    require(out == one_hot.astype(np.int64) @ table, ids=ids[..., None], out=out)


@law
def test_all_rows(evaluate, plan, operands):
    """out(0, 1, ..., n - 1) = table."""
    table = operands[1]
    out = evaluate(np.arange(plan.num_embeddings), table)
    require(out == table, table=table, out=out)
