"""One file to accepted rows and rejects, batch by batch; many files to frames without duplicates."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import polars as pl

from issue_analytics.errors import ExportError, SettingsError
from issue_analytics.exports import tables
from issue_analytics.exports.ahead import ahead, beside
from issue_analytics.exports.files import Source, chunks, content_hash, expand, told
from issue_analytics.exports.formats import FORMATS, envelopes, plain, snuba, table_format_of
from issue_analytics.exports.formats.form import Format
from issue_analytics.exports.jsonlines import Batch, Wanted, at_once, parse
from issue_analytics.exports.kinds import KINDS, hourly_counts
from issue_analytics.exports.lines import Piece, documents, pieces
from issue_analytics.exports.quarantine import REJECTS, Given, refuse, split, warnings_of
from issue_analytics.exports.sniff import Sniffed, UnknownFileError, sniff
from issue_analytics.frames import PROVENANCES, check, empty

__all__ = [
    "NAMES",
    "Options",
    "Part",
    "Tally",
    "UnknownFileError",
    "merge",
    "read",
    "read_file",
    "whole_file_reject",
    "words_of",
]

_NAMED: Final[Mapping[str, Format]] = {form.name: form for form in FORMATS if form is not plain.FORMAT}

_SIDE_BY_SIDE: Final = 2
"""Blocks that are parsed at once: polars reads one in one thread. More would outrun what is done with the rows."""

NAMES: Final = (*KINDS, *_NAMED)
"""What ``format`` may be: a kind of row, for records and tables without nesting, or the name of a format."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to read: the user's names for our columns, the kind if it is not to be sniffed, provenance of labels.

    Raises:
        SettingsError: an unknown format, column or provenance.
    """

    columns: Mapping[str, str] | None = None
    format: str | None = None
    provenance: str = "human"

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in NAMES:
            raise SettingsError(f"no format {self.format!r}. There are: {', '.join(NAMES)}.")
        if self.format in _NAMED and self.columns:
            raise SettingsError(f"columns: {self.format} has columns of its own; name a kind of row as the format.")
        if self.provenance not in PROVENANCES:
            raise SettingsError(f"no provenance {self.provenance!r}. There are: {', '.join(PROVENANCES)}.")
        known = {name for fields in plain.FIELDS.values() for name in fields}
        if unknown := [name for name in self.columns or () if name not in known]:
            raise SettingsError(
                f"columns: no column {', '.join(map(str, unknown))} of ours. There are: {', '.join(sorted(known))}."
            )
        if self.kind is not None and self.columns:
            ours = plain.FIELDS[self.kind]
            if strange := [name for name in self.columns if name not in ours]:
                raise SettingsError(
                    f"columns: {', '.join(strange)} is no column of {self.kind}. There are: {', '.join(ours)}."
                )

    @property
    def kind(self) -> str | None:
        """The kind that the format or the named columns call for, None where it is to be sniffed."""
        if self.format in KINDS:
            return self.format
        if not self.columns:
            return None
        telling = {"escalated_at": "escalations", "hour": "hourly_counts", "count": "hourly_counts"}
        telling |= {"limit": "recorded_forecasts", "made_at": "recorded_forecasts"}
        telling |= {"at": "status_changes", "kind": "status_changes", "new_status": "status_changes"}
        return next((kind for name, kind in telling.items() if name in self.columns), "occurrences")


@dataclass(frozen=True, slots=True)
class Part:
    """What a batch of one file came to: accepted rows by kind, with ``row``; rejects; rows read by kind.

    ``found`` is the name of the file's format, ``ignored`` counts what is no row of ours, ``note`` is what users of
    such rows must be told, ``refused`` counts whole series and answers that were refused, by reason.
    """

    accepted: Mapping[str, pl.DataFrame]
    rejects: pl.DataFrame
    read: Mapping[str, int]
    found: str = ""
    ignored: Mapping[str, int] = field(default_factory=dict)
    note: str | None = None
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """Rows of one kind: ``read == accepted + rejected + duplicates + other``; accepted ones with a warning, by it."""

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    other: int = 0
    warnings: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _File:
    path: Path
    options: Options
    tell: Callable[[int], None] | None = None
    fast: bool = True

    @cached_property
    def digest(self) -> str:
        return content_hash(self.path)[:16]


def _unknown(path: Path, fields: tuple[str, ...]) -> UnknownFileError:
    found = ", ".join(fields)[:400]
    return UnknownFileError(
        f"{path}: no known kind of export. Found: {found or 'no field at all'}. If it is a table of events, name its "
        'columns: columns={"group_id": "theirs", "detected_at": "theirs"} (--columns group_id=theirs).'
    )


def _wanted(file: _File, sniffed: Sniffed, fallback: str) -> Wanted:
    """The kind to read, or the reason why it cannot be read."""
    options, fields = file.options, sniffed.fields
    if options.columns:
        kind = options.kind or fallback
        # records need not all have the same fields: only what each of them needs is missed in the first ones
        needed = set(options.columns) if sniffed.content in ("csv", "parquet") else {*KINDS[kind].needed, "group_id"}
        named = {theirs for ours, theirs in options.columns.items() if ours in needed}
        missing = sorted(named - set(fields))
        if missing and fields:
            raise ExportError(
                f"{file.path}: no column {', '.join(missing)}. Found: {', '.join(fields)[:400]}. "
                'Name them as they stand there: columns={"ours": "theirs"}.'
            )
        return Wanted(plain.FORMAT, kind, columns=options.columns)
    stem = file.path.name.split(".")[0]
    form = sniffed.format
    if options.format is not None and options.format in _NAMED:
        form = _NAMED[options.format]
        if form.open is not None and sniffed.content in ("csv", "parquet"):
            raise ExportError(f"{file.path}: a table; {form.name} are JSON. Leave the format out.")
    elif options.format is not None:
        if form is snuba.FORMAT:
            form = snuba.reading(options.format)
        elif form is None or form.open is None:
            form = plain.FORMAT
        return Wanted(form, options.format, forced=True, stem=stem)
    if form is None:
        # a response without a single row is no stranger
        if sniffed.content in ("lines", "array", "document") and not fields:
            return Wanted(plain.FORMAT, fallback)
        raise _unknown(file.path, fields)
    if form.open is None and sniffed.content in ("csv", "parquet"):
        found = plain.kind_of(fields) if form is plain.FORMAT else next(iter(form.fields))
        return Wanted(form, found or fallback, stem=stem)
    return Wanted(form, fallback, stem=stem)


def _table_columns(path: Path, kind: str, wanted: Wanted, fields: tuple[str, ...]) -> None:
    """A table says before its first row whether it has what a row of its kind needs."""
    named = wanted.columns or {}
    missing = []
    theirs = wanted.format.fields[kind]
    for name in KINDS[kind].needed:
        there = (named.get(name, name),) if wanted.columns is not None else theirs.get(name, ())
        if there and not set(there) & set(fields):
            missing.append(name)
    keys = {named.get("group_id", "group_id"), named.get("fingerprint", "fingerprint")}
    if wanted.columns is None:
        keys = {*theirs.get("group_id", ()), *theirs.get("fingerprint", ()), *theirs.get("group_key", ())}
    if "fingerprint" in plain.FIELDS[kind] and not keys & set(fields):
        missing.append("group_id")
    if missing:
        raise ExportError(
            f"{path}: no column {', '.join(missing)}. Found: {', '.join(fields)[:400]}. "
            f'Name it with columns={{"{missing[0]}": "theirs"}} (--columns {missing[0]}=theirs).'
        )


def _batches(file: _File, fallback: str) -> Iterator[tuple[Format, Batch]]:
    """The raw batches of a file, and the format it has."""
    container, stream = chunks(file.path, tell=file.tell)
    sniffed = sniff(file.path, stream)
    if sniffed.content == "parquet":
        yield from _parquet(file, container, sniffed, fallback)
        return
    wanted = replace(_wanted(file, sniffed, fallback), seen=sniffed.types)
    if sniffed.content == "csv":
        _table_columns(file.path, wanted.kind, wanted, sniffed.fields)
        for batch in tables.csv_batches(sniffed.stream, sniffed.fields, sniffed.separator, wanted, fast=file.fast):
            yield wanted.format, batch
        return
    if wanted.format is envelopes.FORMAT:
        records = envelopes.records(sniffed.stream)
    elif sniffed.content in ("lines", "envelope"):
        records = pieces(sniffed.stream)
    else:
        records = documents(sniffed.stream, array=sniffed.content == "array")
    shift = 0

    def look(piece: Piece) -> Batch | None:
        return at_once(piece, wanted) if file.fast else None

    for piece, whole in beside(look, records, _SIDE_BY_SIDE):
        if whole is not None:
            yield wanted.format, whole  # without nesting: each line is one row
            continue
        if piece.problem is not None:
            broken = [(piece.first + shift, piece.problem, piece.text.decode("utf-8", "replace"))]
            yield wanted.format, Batch([], broken, lambda numbers: [None for _ in numbers])
            continue
        following = piece.first + shift
        for batch, after in parse(piece, wanted, first=following, fast=file.fast):
            yield wanted.format, batch
            following = after
        shift = following - (piece.first + piece.lines)


def _parquet(file: _File, container: str, sniffed: Sniffed, fallback: str) -> Iterator[tuple[Format, Batch]]:
    path = file.path if container == "plain" else tables.spooled(sniffed.stream, file.path)
    try:
        fields = tables.parquet_fields(path, file.path)
        names = tuple(fields)
        wanted = _wanted(file, Sniffed("parquet", table_format_of(names), names, iter(())), fallback)
        _table_columns(file.path, wanted.kind, wanted, names)
        for batch in tables.parquet_batches(path, file.path, fields, wanted):
            yield wanted.format, batch
    finally:
        if path != file.path:
            path.unlink()


def read_file(
    path: Path,
    options: Options,
    *,
    fallback: str = "occurrences",
    tell: Callable[[int], None] | None = None,
    fast: bool = True,
) -> Iterator[Part]:
    """Read one file in parts of bounded size. Rows may still repeat each other; ``merge`` sees to that.

    ``fallback`` is the kind of records that show none; ``fast=False`` reads without polars's parsers, for tests.

    Raises:
        UnknownFileError: no known kind of export.
        ExportError: the file as a whole cannot be read; parts that came before must be thrown away.
    """
    try:
        file = _File(path, options, tell, fast)
        with ahead(_batches(file, fallback)) as batches:
            yield from _parts(file, batches, fallback)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        why = (str(error).splitlines() or [""])[0][:200]
        raise ExportError(f"{path}: holds what cannot be read ({why}); export it as text.") from None


def _parts(file: _File, batches: Iterator[tuple[Format, Batch]], fallback: str) -> Iterator[Part]:
    options, source = file.options, told(file.path)
    given = Given(lambda: file.digest, "group_id" in (options.columns or {}), options.provenance)
    seen = fallback
    refused: Counter[str] = Counter()
    useful = False
    for form, batch in batches:
        name, note = form.name, form.note
        seen = batch.rows[0][0] if batch.rows else seen
        for kind, rows in batch.rows:
            # rejects take much memory: so many rows at a time
            for raw in rows.iter_slices(tables.ROWS):
                frame, problems = KINDS[kind].accept(raw, given)
                reasons: Counter[str] = Counter()
                if "problem" in raw.columns:
                    problems = _refused_first(raw["problem"], problems)
                    useful = useful or raw["problem"].has_nulls()
                    if "whole" in raw.columns:
                        reasons = Counter(raw["problem"].filter(raw["whole"].is_not_null()))
                else:
                    useful = True
                good, bad = split(frame.with_columns(raw["row"]), problems, raw["row"], source, batch.texts)
                bad = bad.with_columns(kind=pl.lit(kind))
                refused.update(reasons)
                yield Part({kind: good} if good.height else {}, bad, {kind: raw.height}, name, {}, note, reasons)
        if batch.broken:
            # what cannot be read is counted with the kind its file would have had
            kind = options.kind or (batch.rows[0][0] if batch.rows else seen)
            broken = _refuse_broken(source, batch.broken)
            useful = True
            yield Part({}, broken.with_columns(kind=pl.lit(kind)), {kind: broken.height}, name)
        if batch.ignored:
            yield Part({}, pl.DataFrame(schema={**REJECTS, "kind": pl.String}), {}, name, batch.ignored)
    if refused and not useful:
        raise _useless(file.path, refused)


def _useless(path: Path, refused: Counter[str]) -> ExportError:
    """The error of a file that is read well and holds nothing that can be used."""
    said = "; ".join(reason for reason, _ in refused.most_common(3))
    return ExportError(f"{path}: nothing in it can be used. {said[:1].upper()}{said[1:]}.")


def _refused_first(refused: pl.Series, problems: list[pl.Series | None]) -> list[pl.Series | None]:
    """A row that its format refuses has that reason only: its values were not looked for."""
    fine = refused.is_null()
    rest = [pl.select(pl.when(fine).then(problem))[:, 0] for problem in problems if problem is not None]
    return [refused, *rest]


def _refuse_broken(source: str, broken: Sequence[tuple[int, str, str | None]]) -> pl.DataFrame:
    """Rejects of records that are none: number, reason and text of each."""
    numbers, reasons, raws = zip(*broken, strict=True)
    texts = dict(zip(numbers, raws, strict=True))
    lists = pl.Series([[reason] for reason in reasons])
    return refuse(source, pl.Series(numbers), lists, lambda rows: [texts[row] for row in rows])


def whole_file_reject(path: Path, error: ExportError, kind: str) -> pl.DataFrame:
    """The one reject that stands for a file that cannot be read."""
    why = str(error).removeprefix(f"{path}: ")
    frame = refuse(told(path), pl.Series([1]), pl.Series([[told(why)]]), lambda rows: [None for _ in rows])
    return frame.with_columns(kind=pl.lit(kind))


def words_of(told: Sequence[str]) -> pl.Expr:
    """What a row says in these columns, as one text to compare and to show."""
    words = [pl.col(name).cast(pl.String).fill_null("none") for name in told]
    return pl.concat_str(words or [pl.lit("")], separator=" ")


def merge(kind: str, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Part rows (with ``file`` and ``row``) into single ones, contradictions as rejects, and a number of duplicates.

    Of equal rows the first stays. Rows of one key that contradict each other are all rejected: none is better.
    """
    key, told = list(KINDS[kind].unique), list(KINDS[kind].told)
    if not told:
        single = frame.unique(key, keep="first", maintain_order=True)
        return single, pl.DataFrame(schema=REJECTS), frame.height - single.height
    single = frame.unique([*key, *told], keep="first", maintain_order=True)
    clash = single.filter(pl.struct(key).is_duplicated()).select(key).unique() if single.height else single.select(key)
    if not clash.height:
        return single, pl.DataFrame(schema=REJECTS), frame.height - single.height
    bad = frame.join(clash, on=key, how="semi", maintain_order="left")
    single = single.join(clash, on=key, how="anti", maintain_order="left")
    shown = words_of(told)
    both = bad.group_by(key).agg(shown.unique().sort().str.join(" and ").alias("both"))
    what = {"hourly_counts": "this group and hour", "escalations": "this group and start"}.get(kind, "this group")
    rejects = bad.join(both, on=key, how="left", maintain_order="left").select(
        pl.col("file").alias("source"),
        "row",
        reasons=pl.concat_list(
            pl.format(f'contradicts another row of {what}: "{{}}"; keep one of them, or export again', "both")
        ),
        raw=pl.struct(*key, *told).struct.json_encode(),
    )
    return single, rejects, frame.height - single.height - rejects.height


def read(
    source: Source, kind: str, options: Options, *, fast: bool = True
) -> tuple[pl.DataFrame, pl.DataFrame, Tally, list[tuple[str, str]]]:
    """Read all files of a source into memory: accepted rows, rejects, the tally, and files skipped with the reason.

    Raises:
        ExportError: nothing to read, one named file that cannot be read, or nothing of this kind in it.
    """
    files, single = expand(source)
    tally = Tally()
    frames: list[pl.DataFrame] = []
    rejects: list[pl.DataFrame] = []
    skipped: list[tuple[str, str]] = []
    others: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for path in files:
        try:
            parts = list(read_file(path, options, fallback=kind, fast=fast))
            if kind == "hourly_counts":
                _refuse_daily(path, [part.accepted[kind] for part in parts if kind in part.accepted])
        except UnknownFileError as error:
            if single:
                raise
            skipped.append((str(path), str(error)))
            continue
        except ExportError as error:
            if single:
                raise
            rejects.append(whole_file_reject(path, error, kind))
            tally.read += 1
            continue
        for part in parts:
            tally.read += sum(part.read.values())
            others.update({name: number for name, number in part.read.items() if name != kind})
            rejects.append(part.rejects.filter(pl.col("kind") == kind))
            refused.update(part.refused if kind in part.read else {})
            if kind in part.accepted:
                frames.append(part.accepted[kind].with_columns(pl.lit(told(path)).alias("file")))
    tally.other = sum(others.values())
    bad = pl.concat([reject.drop("kind") for reject in rejects]) if rejects else pl.DataFrame(schema=REJECTS)
    good = empty(KINDS[kind].contract)
    if frames:
        merged, clashes, tally.duplicates = merge(kind, pl.concat(frames))
        tally.warnings = warnings_of(merged)
        good = merged.select(good.columns)
        bad = pl.concat([bad, clashes])
    tally.accepted, tally.rejected = good.height, bad.height
    if single and refused and not tally.accepted and tally.rejected == refused.total():
        raise _useless(files[0], refused)
    if not tally.accepted and not tally.rejected:
        if tally.other:
            found = ", ".join(f"{number} rows of {name}" for name, number in others.most_common())
            first = others.most_common()[0][0]
            raise ExportError(f"{source}: no {kind} in it, but {found}. Read them with read_{first}.")
        if skipped and len(skipped) == len(files):
            raise ExportError(f"{source}: none of {len(files)} files is an export; the first: {skipped[0][1]}")
    return check(good, KINDS[kind].contract), check(bad, "Rejects"), tally, skipped


def _refuse_daily(path: Path, frames: list[pl.DataFrame]) -> None:
    if frames and hourly_counts.is_daily(pl.concat(frames)["hour"]):
        raise ExportError(f"{path}: {hourly_counts.DAILY}.")
