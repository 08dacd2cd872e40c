"""Sets of settings as bits: a row is something that is so or not, a bit in it whether it is so under one setting.

64 settings take one word, so that an operation on words answers a question for all of them at once.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Words", "below", "column_sums", "to_bits", "to_words", "width"]

Words = NDArray[np.uint64]

_WORD = 64


def width(settings: int) -> int:
    """Words that hold so many settings."""
    return -(-settings // _WORD)


def to_words(bits: NDArray[np.bool_]) -> Words:
    """Pack the last axis, one entry per setting.

    >>> to_words(np.array([[True, False, True]])).tolist()
    [[5]]
    """
    padded = width(bits.shape[-1]) * _WORD
    wide = np.zeros((*bits.shape[:-1], padded), dtype=np.bool_)
    wide[..., : bits.shape[-1]] = bits
    return np.packbits(wide, axis=-1, bitorder="little").view(np.uint64)


def to_bits(words: Words) -> NDArray[np.uint8]:
    """Unpack the last axis to a 0 or 1 per setting, those that fill the last word too."""
    return np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little")


def below(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], Words]:
    """Answer "is the setting's value at most so much" for any bound.

    Args:
        values: of one variable, one per setting.

    Returns:
        The distinct values, sorted, and a row for each number of them: row ``k`` holds the settings whose value is
        among the first ``k``. The row for a bound is ``np.searchsorted(distinct, bound, side="right")``.
    """
    distinct, rank = np.unique(values, return_inverse=True)
    table = np.zeros((distinct.size + 1, width(values.size) * _WORD // 8), dtype=np.uint8)
    setting = np.arange(values.size)
    np.bitwise_or.at(table, (rank + 1, setting // 8), np.left_shift(1, setting % 8).astype(np.uint8))
    words = table.view(np.uint64)
    return distinct, np.bitwise_or.accumulate(words, axis=0)


def column_sums(rows: Words) -> NDArray[np.int64]:
    """For each setting, in how many rows its bit is set; those that fill the last word too.

    Rows are added three at a time, as a full adder adds three bits to a sum and a carry, so that a row costs some five
    operations on words however many settings it holds.

    >>> column_sums(np.array([[5], [1], [1], [1]], dtype=np.uint64))[:3].tolist()
    [4, 0, 1]
    """
    total = np.zeros(rows.shape[1] * _WORD, dtype=np.int64)
    weight = 1
    while rows.shape[0]:
        carries = []
        while rows.shape[0] > 1:
            if rows.shape[0] == 2:
                rows = np.concatenate([rows, np.zeros_like(rows[:1])])
            whole = rows.shape[0] // 3 * 3
            a, b, c = rows[0:whole:3], rows[1:whole:3], rows[2:whole:3]
            half = a ^ b
            carries.append((a & b) | (half & c))
            half ^= c
            rows = np.concatenate([half, rows[whole:]]) if whole < rows.shape[0] else half
        total += weight * to_bits(rows[0]).astype(np.int64)
        rows = np.concatenate(carries) if carries else rows[:0]
        weight *= 2
    return total
