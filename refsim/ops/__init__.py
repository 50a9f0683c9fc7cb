"""The operations of I-BERT, one file each; importing this package defines them all: every file that stands here is read."""

from importlib import import_module
from pkgutil import iter_modules

from .base import CHECKS, DEFINITIONS, OURS
from .checks import checked

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

OURS.update(DEFINITIONS)
CHECKS.append(checked)
