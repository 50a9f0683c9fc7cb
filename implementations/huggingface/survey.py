"""How many lanes differ, and how many of them outside of the known deviations: the table "Measured" of README.md.

    python implementations/huggingface/survey.py [TARGET ...] [--plans N] [--json FILE]

Exit 1 if a lane differs that no deviation covers. `granted` counts lanes that a predicate covers though they agree.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import refsim
from refsim.catalogue.draw import Words, draw_operands, draw_plan
from refsim.conformance.loading import target
from refsim.conformance.targets import covers

LANES, EXAMPLES = 2048, 8


def surveyed(spec: str, plans: int) -> dict[str, Any]:
    """By op the counts, and the first lanes that are outside or granted for nothing."""
    adapter, found = target(spec), {}
    for op, domain in adapter.DOMAIN.items():
        d, counts, examples, attempt, made = (
            refsim.definition(op, "ibert"),
            dict.fromkeys(("lanes", "differ", "outside", "granted"), 0),
            [],
            0,
            0,
        )
        stated = [e for e in adapter.DEVIATIONS if e["op"] == op]
        while made < plans:
            source = Words(f"survey/{op}/{attempt}")
            attempt += 1
            plan = draw_plan(source, d, domain)
            if plan is None or not covers(domain, d, plan):
                continue
            made += 1
            operands = draw_operands(source, plan, LANES)
            steps = refsim.trace(plan, *operands)
            got = getattr(adapter, op)(*operands, plan)
            wrong = got != steps.out
            lanes = {e["id"]: np.broadcast_to(e["applies"](plan, operands, steps), wrong.shape) for e in stated}
            covered = np.logical_or.reduce([np.zeros(wrong.shape, bool), *lanes.values()])
            outside, granted = wrong & ~covered, covered & ~wrong
            for name, what in (("lanes", np.ones_like(wrong)), ("differ", wrong), ("outside", outside), ("granted", granted)):
                counts[name] += int(what.sum())
            for name, what in (("outside", outside), ("granted", granted)):
                if what.any() and sum(e["what"] == name for e in examples) < EXAMPLES:
                    at = tuple(int(i) for i in np.argwhere(what)[0])
                    examples.append(
                        {
                            "what": name,
                            "parameters": dict(plan.parameters),
                            "key": f"survey/{op}/{attempt - 1}",
                            "at": at,
                            "lanes": int(what.sum()),
                            "due": int(steps.out[at]),
                            "got": int(got[at]),
                            "by": [i for i, there in lanes.items() if there[at]],
                            "operand": np.asarray(operands[0]).ravel()[:64].tolist(),
                        }
                    )
        print(f"{spec} {op}: {counts}", flush=True)
        found[op] = {**counts, "examples": examples}
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*", default=["huggingface", "huggingface:float32"])
    parser.add_argument("--plans", type=int, default=80)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = {spec: surveyed(spec, given.plans) for spec in given.targets}
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(any(counts["outside"] for ops in found.values() for counts in ops.values()))


if __name__ == "__main__":
    sys.exit(main())
