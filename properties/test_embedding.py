"""Conformance of the embedding."""

import numpy as np

from refsim.conformance.laws import law, require

OP = "embedding"


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
