"""Settings that the tests of the tool itself share."""

from __future__ import annotations

from hypothesis import settings

# The same examples on every run: what is searched for is searched for by `refsim check`, with a seed that it prints.
settings.register_profile("refsim-tests", deadline=None, derandomize=True, database=None)
settings.load_profile("refsim-tests")
