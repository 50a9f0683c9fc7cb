"""How every op goes wrong, a file an op: its families of golden vectors, its bins, its mutants, its example.

Importing the package reads every file that stands here. What is true of any op stands in the other files: `family`, `bins` and `mutants`
are what the op's files are written with, `generic` makes all three of a definition of which nothing is known but itself, `draw` and
`blocks` make operands.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
