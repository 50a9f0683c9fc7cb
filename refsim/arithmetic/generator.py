"""The counter-based integer generator: the same words for the same name, on every machine, for ever.

Only the raw 64-bit words of NumPy's Philox are used, never a distribution, whose algorithm may change between releases.
"""

from __future__ import annotations

import hashlib
import threading

import numpy as np
from numpy.typing import NDArray

_THREAD = threading.local()
_NONE = (0, 0, 0, 0)


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
    words: NDArray[np.uint64] = _begun(name).random_raw(count)
    return words


def raw_word(name: str) -> int:
    """The first of `raw_words`."""
    return int(_begun(name).random_raw())


def _begun(name: str) -> np.random.Philox:
    """This thread's generator at the beginning of a stream: a new one would first ask the system for chance, which takes longer."""
    if not hasattr(_THREAD, "philox"):
        _THREAD.philox = np.random.Philox(key=0)
    key = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u8", 2)
    state = {"counter": _NONE, "key": key}
    _THREAD.philox.state = {"bit_generator": "Philox", "state": state, "buffer": _NONE, "buffer_pos": 4, "has_uint32": 0, "uinteger": 0}
    philox: np.random.Philox = _THREAD.philox
    return philox


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
