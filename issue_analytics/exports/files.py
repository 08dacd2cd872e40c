"""From what a user points at to decompressed bytes: paths, globs and folders; plain, gzip and Zstandard.

The container is told by its first bytes, never by its name. Bytes are streamed, so memory does not depend on the size
of a file, and a container that ends too early is an error, never a shorter file.
"""

import glob
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from issue_analytics.errors import ExportError
from issue_analytics.exports.sniff import UnknownFileError

__all__ = ["CHUNK", "Source", "chunks", "content_hash", "expand", "hash_and_damage", "reason", "told"]

Source = str | Path | list[str] | list[Path] | list[str | Path]
"""A file, a glob, a folder (searched to any depth), or a list of these."""

CHUNK: Final = 2**20

BOMB_BYTES: Final = 2**30
BOMB_RATIO: Final = 1_000
"""Past 1 GiB, a container that unpacks to more than a thousand times its size is refused."""

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
# ratio of one Zstandard block to its few bytes is huge: small feeds keep what one call can unpack within bounds
_ZSTD_FEED: Final = 2**12


def reason(error: OSError) -> str:
    """What the system said, without number and path.

    >>> reason(FileNotFoundError(2, "No such file or directory", "x"))
    'No such file or directory'
    """
    return error.strerror or type(error).__name__


def told(text: object) -> str:
    r"""Text, such as of a path, that can be written anywhere: what is no Unicode in it is shown by its number.

    >>> told(Path("caf\udce9.csv"))
    'caf\\udce9.csv'
    """
    return str(text).encode("utf-8", "backslashreplace").decode()


def _files_in(folder: Path) -> list[Path]:
    """All files below a folder, and what hides some: folders that cannot be listed, and links to folders.

    Reading one of the latter says why it cannot be read, so that none goes without a word.
    """
    found: list[Path] = []

    def unlisted(error: OSError) -> None:
        found.append(Path(error.filename))

    for where, folders, names in os.walk(folder, onerror=unlisted):
        # links to folders are not followed: they may lead in circles, or to the same file twice
        links = [name for name in folders if Path(where, name).is_symlink()]
        found += [Path(where, name) for name in names + links]
    # sorted by their parts, so that the order is the same on every machine
    return sorted(found, key=lambda path: path.parts)


def expand(source: Source) -> tuple[list[Path], bool]:
    """Return the files meant, each once and in a stable order, and whether one single file was named.

    Raises:
        ExportError: nothing there: no such path, an empty folder, a pattern that matches nothing.

    >>> expand("/nowhere/*.jsonl")
    Traceback (most recent call last):
    issue_analytics.errors.ExportError: /nowhere/*.jsonl: no file matches this pattern. ...
    """
    if isinstance(source, list | tuple):
        if not source:
            raise ExportError("an empty list of exports: name a file, a folder or a pattern.")
        found = [path for part in source for path in expand(part)[0]]
        return list(dict.fromkeys(found)), len(found) == 1
    if not isinstance(source, str | Path):
        raise ExportError(f"expected a path, a pattern, a folder or a list of these, got {type(source).__name__}.")
    if source == "":
        raise ExportError("an empty path: name a file, a folder or a pattern; the current folder is '.'.")
    try:
        path = Path(source).expanduser()
        folder, there = path.is_dir(), path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a NUL in it, no such user's home
        raise ExportError(f"{str(source)[:200]!r}: not a usable path ({error}).") from None
    if folder:
        files = _files_in(path)
        if not files:
            raise ExportError(f"{path}: an empty folder; there is nothing to read.")
        return files, files == [path]
    if there:
        return [path], True
    if glob.has_magic(str(source)):
        hits = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        matches = sorted({Path(match) for match in hits}, key=lambda path: path.parts)
        files = [file for match in matches for file in (_files_in(match) if match.is_dir() else [match])]
        if not files:
            raise ExportError(f"{source}: no file matches this pattern. Quote it, so that the shell leaves it alone.")
        return list(dict.fromkeys(files)), False
    raise ExportError(f"{source}: no such file or folder.")


def _raw(path: Path) -> Iterator[bytes]:
    try:
        if path.is_dir():
            if path.is_symlink():
                raise UnknownFileError(f"{path}: a link to a folder, which is not followed; name it to have it read.")
            os.scandir(path).close()  # says why the folder cannot be listed
        if not path.is_file():
            raise ExportError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}.")
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({reason(error)}).") from None


def content_hash(path: Path) -> str:
    """32 hex characters that stand for the unpacked bytes of a file: a table and its ``.gz`` are the same export.

    Where the bytes cannot be unpacked, those of the container stand for the file.

    Raises:
        ExportError: the file cannot be read.
    """
    return hash_and_damage(path)[0]


def hash_and_damage(path: Path) -> tuple[str, ExportError | None]:
    """As :func:`content_hash`, and why the bytes cannot be unpacked, if they cannot."""
    try:
        return _hash(chunks(path)[1]), None
    except ExportError as error:
        return _hash(_raw(path)), error


def _hash(stream: Iterator[bytes]) -> str:
    digest = hashlib.sha256()  # processors have instructions for it
    for chunk in stream:
        digest.update(chunk)
    return digest.hexdigest()[:32]


def _gunzip(path: Path, raw: Iterator[bytes]) -> Iterator[bytes]:
    unpack = zlib.decompressobj(wbits=31)
    try:
        for chunk in raw:
            data = chunk
            while data:
                if unpack.eof:  # another member follows; zeros are padding
                    data = data.lstrip(b"\x00")
                    if not data:
                        break
                    unpack = zlib.decompressobj(wbits=31)
                if out := unpack.decompress(data, 4 * CHUNK):
                    yield out
                data = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
    except zlib.error as error:
        raise ExportError(f"{path}: damaged gzip data ({error}); export or copy it again.") from None
    if not unpack.eof:
        raise ExportError(f"{path}: truncated: the gzip data end before they are complete; export or copy it again.")


def _unzstd(path: Path, raw: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    def fresh() -> Any:
        return zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()

    unpack = fresh()
    try:
        for chunk in raw:
            for start in range(0, len(chunk), _ZSTD_FEED):
                data = chunk[start : start + _ZSTD_FEED]
                while data:
                    if unpack.eof:
                        unpack = fresh()
                    if out := unpack.decompress(data):
                        yield out
                    data = unpack.unused_data if unpack.eof else b""
    except zstandard.ZstdError as error:
        raise ExportError(f"{path}: damaged Zstandard data ({error}); export or copy it again.") from None
    if not unpack.eof:
        raise ExportError(f"{path}: truncated: the Zstandard data end before they are complete; copy it again.")


def chunks(path: Path, *, tell: Callable[[int], None] | None = None) -> tuple[str, Iterator[bytes]]:
    """Return the container (``"plain"``, ``"gzip"``, ``"zstd"``) and the unpacked bytes, piece by piece.

    ``tell`` is called with the number of raw bytes of each piece read, for progress bars.

    Raises:
        ExportError: now or while reading: unreadable, truncated, damaged, or unpacking without measure.
    """
    sizes = [0]

    def counted() -> Iterator[bytes]:
        for chunk in _raw(path):
            sizes[0] += len(chunk)
            if tell is not None:
                tell(len(chunk))
            yield chunk

    def measured(unpacked: Iterator[bytes]) -> Iterator[bytes]:
        total = 0
        for chunk in unpacked:
            total += len(chunk)
            if total > BOMB_BYTES and total > BOMB_RATIO * sizes[0]:
                raise ExportError(
                    f"{path}: unpacks to more than {BOMB_RATIO} times its size; refused as a decompression bomb. "
                    "If it is genuine, unpack it yourself."
                )
            yield chunk

    raw = counted()
    first = next(raw, b"")

    def all_of_it() -> Iterator[bytes]:
        yield first
        yield from raw

    if first.startswith(_GZIP):
        return "gzip", measured(_gunzip(path, all_of_it()))
    if first.startswith(_ZSTD):
        return "zstd", measured(_unzstd(path, all_of_it()))
    return "plain", all_of_it()
