"""A step or two ahead: the next items are made in threads of their own while this one is looked at."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum, auto
from typing import TypeVar

__all__ = ["ahead", "beside"]

Item = TypeVar("Item")
Made = TypeVar("Made")


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


def beside(work: Callable[[Item], Made], items: Iterator[Item], workers: int) -> Iterator[tuple[Item, Made]]:
    """Each item with what is made of it, in the same order; so many are worked on at once, and one more is ready.

    >>> list(beside(str.upper, iter("abc"), 2))
    [('a', 'A'), ('b', 'B'), ('c', 'C')]
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="read-beside") as pool:
        coming: deque[tuple[Item, Future[Made]]] = deque()
        try:
            for item in items:
                coming.append((item, pool.submit(work, item)))
                if len(coming) > workers:
                    first, made = coming.popleft()
                    yield first, made.result()
            while coming:
                first, made = coming.popleft()
                yield first, made.result()
        finally:
            pool.shutdown(cancel_futures=True)
