"""``python -m refsim``: the command line."""

from .cli import main

main()
