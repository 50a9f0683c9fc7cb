"""What the same op code runs on: int64 arrays in tiles and words, Python ints, intervals, recorded graphs."""

from . import words  # noqa: F401  (importing it registers how primitives run on int64)
