"""A step or two ahead: the next items are made in a thread of their own while this one is looked at."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum, auto
from typing import TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")


class _End(Enum):
    """What comes after the last item."""

    END = auto()


@contextmanager
def ahead(items: Iterator[Item], steps: int = 2) -> Iterator[Iterator[Item]]:
    """The same items in the same order; from now on, up to ``steps`` of them are made before they are asked for.

    Errors come where they belong.

    >>> with ahead(iter("abc")) as letters:
    ...     list(letters)
    ['a', 'b', 'c']
    """

    def step() -> Item | _End:
        return next(items, _End.END)

    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        coming = deque(pool.submit(step) for _ in range(steps))

        def asked() -> Iterator[Item]:
            while (item := coming.popleft().result()) is not _End.END:
                coming.append(pool.submit(step))
                yield item

        try:
            yield asked()
        finally:
            pool.shutdown(cancel_futures=True)  # what nobody asks for need not be made
