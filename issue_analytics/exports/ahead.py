"""A step or two ahead: the next blocks are read in a thread of their own while this one is looked at."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")

_END: Final = object()
_AHEAD: Final = 2


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items in the same order; while one is in use, the next are being made. Errors come where they belong.

    >>> list(ahead(iter("abc")))
    ['a', 'b', 'c']
    """

    def step() -> object:
        return next(items, _END)

    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        coming = deque(pool.submit(step) for _ in range(_AHEAD))
        while (item := coming.popleft().result()) is not _END:
            coming.append(pool.submit(step))
            yield item  # type: ignore[misc]
