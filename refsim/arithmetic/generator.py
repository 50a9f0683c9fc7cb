"""The counter-based integer generator: the same words for the same name, on every machine, for ever.

Only the raw 64-bit words of NumPy's Philox are used, never a distribution, whose algorithm may change between releases.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def raw_words(name: str, count: int) -> NDArray[np.uint64]:
    """`count` uniform 64-bit words, a pure function of `name`.

    Parameters
    ----------
    name : str
        Hashed (SHA-256) into the 128-bit Philox key. Different names give independent streams.
    count : int
        How many; the first words of a longer stream are those of a shorter one.

    Returns
    -------
    numpy.ndarray of uint64, shape (count,)
    """
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    words: NDArray[np.uint64] = np.random.Philox(key=key).random_raw(count)
    return words


_MULTIPLIERS, _WEYL, _WORD = (0xD2E7470EE14C6C93, 0xCA5A826395121157), (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B), (1 << 64) - 1


def raw_word(name: str) -> int:
    """The first of `raw_words`, by the ten rounds of Philox 4x64 on Python ints: a single word so costs a fifth.

    Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011).
    """
    digest = hashlib.sha256(name.encode()).digest()
    k0, k1 = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")
    a, b, c, d = 1, 0, 0, 0  # NumPy counts before it draws
    for _ in range(10):
        left, right = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (right >> 64) ^ b ^ k0, right & _WORD, (left >> 64) ^ d ^ k1, left & _WORD
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return a


def raw_integers(name: str, count: int, lo: int, hi: int) -> NDArray[np.int64]:
    """`count` integers of [lo, hi], from the words of `name` reduced modulo the size of the range.

    The modulus favours small residues by less than 2**-32 for ranges below 2**32: harmless for test inputs, and simple to redo
    on another toolchain.
    """
    words = raw_words(name, count)
    size = hi - lo + 1
    if size >= 1 << 64:
        return words.view(np.int64)
    return (words % np.uint64(size) + np.uint64(lo % (1 << 64))).view(np.int64)  # modulo 2**64 all along
