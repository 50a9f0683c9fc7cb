"""Conformance of the sum of embeddings."""

import numpy as np

from refsim.arithmetic import raw_words
from refsim.conformance.laws import law, require

OP = "embedding_sum"
PARTS = ("word", "token_type", "position")


@law
def test_order_of_rows(evaluate, plan, operands):
    """Rows of the three tables in another order, and the ids that find them there, give the same."""
    ids, tables = operands[:3], operands[3:]
    orders = [np.argsort(raw_words(f"rows/{part}", len(table))) for part, table in zip(PARTS, tables, strict=True)]
    moved = [np.argsort(order)[i] for order, i in zip(orders, ids, strict=True)]
    whole = evaluate(*operands)
    ordered = evaluate(*moved, *(table[order] for order, table in zip(orders, tables, strict=True)))
    require(whole == ordered, whole=whole, ordered=ordered)


@law
def test_order_of_columns(evaluate, plan, operands):
    """Columns of the three tables in another order give the columns of the result in that order: all channels have one factor."""
    order = np.argsort(raw_words("columns", plan.embedding_dim))
    whole = evaluate(*operands)[..., order]
    ordered = evaluate(*operands[:3], *(table[:, order] for table in operands[3:]))
    require(whole == ordered, whole=whole, ordered=ordered)


@law
def test_zeros(evaluate, plan, operands):
    """Tables of zeros give zeros."""
    out = evaluate(*operands[:3], *(np.zeros_like(table) for table in operands[3:]))
    require(out == 0, out=out)


@law
def test_rows_that_nobody_asks_for(evaluate, plan, operands):
    """Rows without an id change nothing."""
    ids, tables = operands[:3], operands[3:]
    used = [np.isin(np.arange(len(table)), i)[:, None] for i, table in zip(ids, tables, strict=True)]
    whole = evaluate(*operands)
    other = evaluate(*ids, *(np.where(kept, table, -1 - table) for kept, table in zip(used, tables, strict=True)))
    require(whole == other, whole=whole, other=other)
