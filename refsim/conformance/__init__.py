"""Whether anything else computes the same bits: targets, the suite that runs against them, verdicts."""
