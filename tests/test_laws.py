"""Laws and searches on targets that compute every element right and still fail: the launch that shows it, made short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inprocess import checked

KERNELS = Path(__file__).parent / "targets" / "kernels.py"


def failures(target: str) -> list[dict[str, Any]]:
    code, report, text = checked(target)
    assert code == 1, text
    return [f for o in report["ops"] for f in o["failures"]]


def elements(failure: dict[str, Any]) -> int:
    return len(failure["operands"][0]["data"])


def test_memory_order_is_noticed() -> None:
    """By the law of layouts, with a reproduction that lays the operand out so."""
    from refsim.conformance.record import Failure
    from refsim.conformance.words import reproduction

    found = failures(f"{KERNELS}:order")
    (failure,) = [f for f in found if f["where"] == "law" and "however x lies in memory" in f["law"]]
    assert failure["layout"] == "fortran"
    assert elements(failure) <= 6
    scope: dict[str, Any] = {}
    lines = reproduction(Failure.from_json(failure), f"{KERNELS}:order").splitlines()
    assert "q, = refsim.conformance.layouts.handed([q], 'fortran')" in lines
    exec("\n".join([*lines[:-2], f"ours = {lines[-2]}", f"theirs = {lines[-1]}"]), scope)
    assert (scope["ours"], scope["theirs"]) == (failure["expected"], failure["got"])


@pytest.mark.slow
def test_lost_tail_is_shown_by_a_short_launch() -> None:
    """33 rows, where the 33rd is lost, out of hundreds."""
    found = [f for f in failures(f"{KERNELS}:tail") if f["where"] == "search"]
    assert found
    for failure in found:
        assert failure["operands"][0]["shape"][0] == 33
        assert "though not when launched alone" in failure["share"]


def test_a_wrong_channel_is_shown_alone_where_it_is_wrong_alone() -> None:
    """A per-channel plan of 99 scales is nothing to read: the plan of the one channel is shown if it fails too."""
    (failure,) = [f for f in failures(f"{KERNELS}:tiny") if f["where"].endswith("shifts/wide")]
    assert failure["operands"][0]["data"] == [-1]
    assert isinstance(failure["parameters"]["scale_in"], float)
    assert (failure["got"], failure["expected"]) == (-1, 0)


def test_a_channel_that_is_wrong_beside_others_only_is_shown_with_them() -> None:
    for failure in failures(f"{KERNELS}:channel"):
        assert isinstance(failure["parameters"]["scale"], list)
        assert failure["index"][-1] == 2


@pytest.mark.parametrize("op", ["linear", *(pytest.param(op, marks=pytest.mark.nightly) for op in ("matmul", "attention"))])
def test_a_product_is_shown_by_one_term(op: str) -> None:
    """Golden vectors too, of up to 4096 terms and hundreds of results."""
    code, report, text = checked(str(KERNELS.with_name("products.py")), op)
    assert code == 1, text
    for o in report["ops"]:
        failures = [f for f in o["failures"] if f["where"].startswith(("golden", "plan", "search"))]
        assert any(f["where"].startswith("golden") for f in failures)
        assert all(x is None or len(x["data"]) == 1 for f in failures for x in f["operands"]), [f["where"] for f in failures]
