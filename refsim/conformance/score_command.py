"""``refsim score``: how strong the suite is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from .kinds import Effort


def score(
    op: Annotated[list[str] | None, typer.Option(metavar="OP", help="Only this operation (may be repeated).")] = None,
    dialect: Annotated[list[str] | None, typer.Option(metavar="DIALECT", help="Only this dialect (may be repeated).")] = None,
    effort: Annotated[str, typer.Option(metavar="EFFORT", help="How much is run: quick, default, nightly or exhaustive.")] = "quick",
    vectors_only: Annotated[bool, typer.Option("--vectors-only", help="Run the golden vectors only.")] = False,
    domain: Annotated[
        str,
        typer.Option(
            metavar="DOMAIN",
            help="Let the mutants declare a narrow domain: int8, one-rule, one-scale, short, or narrow (all of these).",
            show_default=False,
        ),
    ] = "",
    fixed: Annotated[
        bool, typer.Option("--fixed", help="Run the checks without a seed only: what they notice, every seed notices.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Another seed draws other searches and laws.")] = 0,
    jobs: Annotated[int, typer.Option(metavar="N", min=0, max=64, help="Processes; 0: one per core, up to 4.")] = 0,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all mutants, and which checks noticed them, to this file.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a matrix of mutants and checks to this folder: CSV, JSON, PNG, SVG.")
    ] = None,
    at_least: Annotated[float, typer.Option(metavar="PERCENT", min=0, max=100, help="How many of the mutants have to be noticed.")] = 100.0,
    write_readme: Annotated[
        bool, typer.Option("--write-readme", help="Write the result into golden/README.md (with --vectors-only).")
    ] = False,
) -> None:
    """Measure how strong the suite is.

    It runs the suite on every mutant, an implementation with one known mistake, and says which check notices which mistake.

    Exit code: 0 as many were noticed as --at-least asks for (mutants proven equivalent are not counted), 1 too few; the others are in
    docs/exit-codes.md.
    """
    from rich.console import Console

    from .. import registry
    from ..errors import UsageError
    from ..figures import matplotlib
    from ..outputs import Outputs
    from ..terminal import progress, width
    from . import kill_matrix, narrow
    from . import score as scoring
    from .kinds import EFFORTS
    from .runner import as_text, legal

    legal("effort", [effort], list(EFFORTS))
    legal("op", op or [], registry.names())
    legal("dialect", dialect or [], registry.dialects())
    if domain:
        legal("domain", [domain], narrow.NAMES)
    if write_readme and (not vectors_only or op or dialect or domain):
        raise UsageError("--write-readme goes with --vectors-only, and with all ops")
    outputs = Outputs()
    outputs.file("--json", json)
    outputs.folder("--out", out, kill_matrix.FILES)
    if out is not None:
        matplotlib()  # without which a long run would end without its picture
    with progress("score") as told:
        result = scoring.score(
            ops=op or [],
            dialects=dialect or [],
            effort=scoring.VECTORS if vectors_only else cast("Effort", effort),
            seed=seed,
            jobs=jobs,
            at_least=at_least,
            domain=domain,
            fixed=fixed,
            progress=told,
        )
    kill_matrix.show(result, Console(highlight=False, width=width()))
    outputs.write("--json", json, lambda: as_text(result.as_json()))
    if out is not None:
        outputs.attempt("--out", out, lambda: [print(path) for path in kill_matrix.write(result, out)])
    if write_readme and not result.interrupted:
        from ..vectors.corpus import STRENGTH
        from ..vectors.readme import write_strength

        survivors = [f.id for f in result.survivors]
        outputs.attempt("--write-readme", STRENGTH, lambda: print(write_strength(result.corpus, result.counts, survivors)))
    raise typer.Exit(outputs.code(result.exit_code))
