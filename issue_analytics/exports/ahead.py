"""One step ahead: the next block is read in a thread of its own while this one is looked at."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")

_END: Final = object()


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items in the same order; while one is in use, the next is being made. Errors come where they belong.

    >>> list(ahead(iter("abc")))
    ['a', 'b', 'c']
    """

    def step() -> object:
        return next(items, _END)

    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        coming = pool.submit(step)
        while (item := coming.result()) is not _END:
            coming = pool.submit(step)
            yield item  # type: ignore[misc]
