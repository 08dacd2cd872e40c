"""Cells to values: times, whole numbers, identifiers, text.

Each function takes a column of any type and returns the values, null where there is none, and the problems: null where
all is well, else one sentence for a reject. Where no row has a problem, None stands for the whole column of problems.
"""

import json
from typing import Final

import polars as pl

__all__ = ["TIME", "fingerprints", "integers", "nothing", "text", "times", "uuids"]

TIME: Final = pl.Datetime("us", "UTC")

FIRST_YEAR, LAST_YEAR = 1990, 2100

# An epoch is told by its magnitude: below 1e11 seconds (to the year 5138), below 1e14 milliseconds, below 1e17
# microseconds, else nanoseconds. Within the accepted years the four cannot be confused.
_SECONDS, _MILLIS, _MICROS = 1e11, 1e14, 1e17

# floats of few digits: no times, and whole numbers only as far as each of them can be told from the next
_COARSE: Final = (pl.Float16, pl.Float32)
_EXACT: Final[dict[object, float]] = {pl.Float16: 2.0**11, pl.Float32: 2.0**24}

_ISO: Final = (
    r"^\s*([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2})"
    r"(?::([0-9]{2})(?:[.,]([0-9]{1,9})|([0-9]{6}))?)?"
    r"\s*(?:([Zz]|UTC)|([+-])([0-9]{2}):?([0-9]{2})?)?\s*$"
)


def _shown(values: pl.Series) -> pl.Expr:
    # hostile text stays short in a message; the whole of it is in the reject's raw column
    text = pl.col("value").cast(pl.String).str.slice(0, 60)
    return text.str.strip_suffix(".0") if values.dtype.is_float() else text


def nothing(height: int, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    """A column of nulls."""
    return pl.Series([None], dtype=dtype).new_from_index(0, height)


def _problem(values: pl.Series, name: str, *cases: tuple[pl.Series, str]) -> pl.Series | None:
    """One sentence per bad row; each case is a mask and what to say, with ``{}`` for the value as it stood there."""
    live = [(mask.fill_null(value=False), sentence) for mask, sentence in cases]
    live = [(mask, sentence) for mask, sentence in live if mask.any()]
    if not live:
        return None
    said = pl.lit(None, dtype=pl.String)
    for index, (_, sentence) in reversed(list(enumerate(live))):
        words = pl.format(f"{name}: {sentence}", _shown(values)) if "{}" in sentence else pl.lit(f"{name}: {sentence}")
        said = pl.when(pl.col(str(index))).then(words).otherwise(said)
    frame = pl.DataFrame([values.alias("value"), *(mask.alias(str(index)) for index, (mask, _) in enumerate(live))])
    return frame.select(said.alias("problem"))["problem"]


def _iso(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Times of ISO 8601 text, read as UTC where there is no zone, and whether there was none."""
    parts = values.str.extract_groups(_ISO).struct.unnest()
    parts.columns = [f"g{number}" for number in range(1, 10)]
    g = pl.col
    offset = (g("g8").cast(pl.Int64) * 60 + g("g9").fill_null("00").cast(pl.Int64)) * 60_000_000
    # Rust's chrono takes a second 60 as a leap second: it is no time of ours
    second = g("g3").fill_null("00")
    stamp = pl.concat_str(g("g1"), pl.lit("T"), g("g2"), pl.lit(":"), second)
    frame = parts.select(
        at=stamp.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False).cast(pl.Int64)
        + g("g4").fill_null(g("g5")).fill_null("0").str.pad_end(9, "0").str.slice(0, 6).cast(pl.Int64)
        - pl.when(g("g7") == "-").then(-offset).when(g("g7") == "+").then(offset).otherwise(0),
        ok=(second < "60") & (g("g8").fill_null("00") < "16") & (g("g9").fill_null("00") < "60"),
        naive=g("g1").is_not_null() & g("g6").is_null() & g("g7").is_null(),
    )
    at = frame.select(pl.when("ok").then("at"))["at"]
    return at, frame["naive"] & at.is_not_null()


def _epoch(values: pl.Series) -> pl.Series:
    """Microseconds of epoch numbers of any unit; null for what is not a finite number."""
    frame = pl.DataFrame({"value": values}).select(
        whole=pl.col("value").cast(pl.Int64, strict=False) if not values.dtype.is_float() else pl.lit(None, pl.Int64),
        number=pl.col("value").cast(pl.Float64, strict=False),
    )
    size, whole, number = pl.col("number").abs(), pl.col("whole"), pl.col("number")
    # nanoseconds do not fit a float: whole numbers stay whole
    micros = (
        pl.when(size < _SECONDS).then(whole * 1_000_000)
        .when(size < _MILLIS).then(whole * 1_000)
        .when(size < _MICROS).then(whole)
        .otherwise(whole // 1_000)
    )  # fmt: skip
    rounded = (
        pl.when(size < _SECONDS).then(number * 1e6)
        .when(size < _MILLIS).then(number * 1e3)
        .when(size < _MICROS).then(number)
        .otherwise(number / 1e3)
    ).round().cast(pl.Int64, strict=False)  # fmt: skip
    return frame.select(pl.when(number.is_finite()).then(micros.fill_null(rounded)).alias("at"))["at"]


def times(values: pl.Series, name: str, *, required: bool = True) -> tuple[pl.Series, pl.Series | None]:
    """Read times: ISO 8601 with ``Z`` or an offset, epoch numbers in s, ms, us or ns by magnitude, zoned datetimes.

    Fractions finer than a microsecond are cut. Without a zone a time is a problem, not a guess.

    >>> stamps = pl.Series(["2026-01-05T09:00:00.5+01:00", "1767600000.5", "2026-01-05 09:00"])
    >>> values, problems = times(stamps, "hour")
    >>> values.dt.to_string("%H:%M:%S%.3f").to_list()
    ['08:00:00.500', '08:00:00.500', None]
    >>> problems[2]
    'hour: no time zone: "2026-01-05 09:00"; write an offset such as +00:00 or Z'
    """
    dtype = values.dtype
    height = len(values)
    if dtype == pl.Null and not required:
        return nothing(height, TIME), None
    naive = nothing(height, pl.Boolean)
    if dtype == pl.Null:
        at = nothing(height, pl.Int64)
    elif isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        at = values.dt.convert_time_zone("UTC").dt.cast_time_unit("us").cast(pl.Int64)
    elif isinstance(dtype, pl.Datetime | pl.Date):
        naive, at = values.is_not_null(), nothing(height, pl.Int64)
    elif dtype in _COARSE:
        at = nothing(height, pl.Int64)
    elif dtype.is_integer() or dtype.is_float():
        at = _epoch(values)
    else:
        values = text(values)
        at = _epoch(values)
        rest = at.is_null() & values.is_not_null()
        if rest.any():
            rows = rest.arg_true()
            found, without = _iso(values.gather(rows))
            at = at.scatter(rows, found)
            naive = pl.repeat(value=False, n=height, eager=True).scatter(rows, without)
    low, high = ((year - 1970) * 31_556_952_000_000 for year in (FIRST_YEAR, LAST_YEAR))
    if height and not (at.has_nulls() or naive.any()) and bool(at.is_between(low, high).all()):
        return at.cast(TIME), None  # as most are
    outside = (at < low) | (at > high)
    problem = _problem(
        values,
        name,
        (values.is_null() if required else nothing(height, pl.Boolean), "missing; a time with a zone is needed"),
        (naive, 'no time zone: "{}"; write an offset such as +00:00 or Z'),
        (
            values.is_not_null() if dtype in _COARSE else nothing(height, pl.Boolean),
            f'a number of type {dtype} is off by up to a minute or more: "{{}}"; write Float64 or text',
        ),
        (at.is_null() & values.is_not_null(), 'not a time: "{}"'),
        (outside, f'impossible: "{{}}" lies outside the years {FIRST_YEAR} to {LAST_YEAR}'),
    )
    if problem is not None:
        at = pl.select(pl.when(problem.is_null()).then(at))[:, 0]
    return at.cast(TIME), problem


def integers(values: pl.Series, name: str, *, required: bool = True) -> tuple[pl.Series, pl.Series | None]:
    """Read whole numbers, 0 or more: integers, floats and text that stand for one.

    >>> values, problems = integers(pl.Series(["3", "3.0", "-1", "1.5", "NaN"]), "count")
    >>> values.to_list()
    [3, 3, None, None, None]
    >>> problems.to_list()
    [None, None, 'count: negative: "-1"', 'count: not a whole number: "1.5"', 'count: not a whole number: "NaN"']
    """
    dtype = values.dtype
    if dtype == pl.Int64 and not (required and values.has_nulls()):
        least = values.min()
        if least is None or (isinstance(least, int) and least >= 0):
            return values, None  # as most are
    if not (dtype.is_integer() or dtype.is_float()):
        values = text(values)  # decimals too: as text they stay exact
    real = nothing(len(values), pl.Float64)
    number = real.cast(pl.Int64)
    if not dtype.is_float():
        number = values.cast(pl.Int64, strict=False)
        if values.dtype == pl.String and (number.is_null() & values.is_not_null()).any():
            number = values.str.replace(r"\.0+$", "").cast(pl.Int64, strict=False)
    if (number.is_null() & values.is_not_null()).any():
        real = values.cast(pl.Float64, strict=False)
        exact = real.abs() < _EXACT.get(dtype, 2.0**53)
        whole = (real == real.round()) & exact
        number = pl.select(pl.coalesce(number, pl.when(whole).then(real).cast(pl.Int64, strict=False)))[:, 0]
    problem = _problem(
        values,
        name,
        (values.is_null() if required else nothing(len(values), pl.Boolean), "missing"),
        ((number < 0) | (number.is_null() & (real < 0) & (real == real.round())), 'negative: "{}"'),
        (number.is_null() & real.is_finite() & (real == real.round()), 'too large to be exact: "{}"'),
        (number.is_null() & values.is_not_null(), 'not a whole number: "{}"'),
    )
    if problem is not None:
        number = pl.select(pl.when(problem.is_null()).then(number))[:, 0]
    return number, problem


def text(values: pl.Series) -> pl.Series:
    """Read text as it stands; empty is null.

    >>> text(pl.Series(["a", "", None])).to_list()
    ['a', None, None]
    """
    dtype = values.dtype
    if dtype == pl.Binary:
        values = pl.Series([None if value is None else _decoded(value) for value in values], dtype=pl.String)
    elif dtype.is_nested() or dtype in (pl.Duration, pl.Time, pl.Object):
        # polars cannot write each of these as text; they are rare, and Python can
        values = pl.Series([_json(value) for value in values.to_list()], dtype=pl.String)
    else:
        values = values.cast(pl.String)
    return values.replace("", None) if (values == "").any() else values  # looking costs an eighth


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def _json(value: object) -> str | None:
    def leaf(part: object) -> str:
        return _decoded(part) if isinstance(part, bytes) else str(part)

    return None if value is None else json.dumps(value, default=leaf, ensure_ascii=False)


def uuids(values: pl.Series) -> pl.Series:
    """Read identifiers: a UUID, dashed or not, becomes 32 lower-case hex characters; any other text stays.

    >>> uuids(pl.Series(["6A7BC3EE-3C4F-4F6C-9B51-5F1C28D7A6C1", "app-17"])).to_list()
    ['6a7bc3ee3c4f4f6c9b515f1c28d7a6c1', 'app-17']
    """
    values = values.bin.encode("hex") if values.dtype == pl.Binary else text(values)
    if values.str.contains("^[0-9a-f]{32}$").all():
        return values
    hexes = values.str.replace_all("-", "", literal=True).str.to_lowercase()
    return pl.select(pl.when(hexes.str.contains("^[0-9a-f]{32}$")).then(hexes).otherwise(values))[:, 0]


def fingerprints(values: pl.Series) -> pl.Series:
    """Read fingerprints: a list of text, or text that is a JSON list, or a single part.

    >>> fingerprints(pl.Series(['["a", "b"]', "c", None])).to_list()
    [['a', 'b'], ['c'], None]
    """
    parts = pl.List(pl.String)
    if values.dtype == pl.Null:
        return values.cast(parts)
    if isinstance(values.dtype, pl.List | pl.Array) and values.dtype.inner in (pl.String, pl.Null):
        return values.cast(parts, strict=False)
    values = text(values)
    if not values.str.starts_with("[").any():
        return pl.DataFrame({"value": values}).select(
            pl.when(pl.col("value").is_not_null()).then(pl.concat_list("value"))
        )[:, 0]
    return pl.Series([None if value is None else _parts(value) for value in values], dtype=parts)


def _parts(value: str) -> list[str | None]:
    if value.startswith("["):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
        return [part if part is None or isinstance(part, str) else json.dumps(part) for part in found]
    return [value]
