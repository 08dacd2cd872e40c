"""The commands on sets of thresholds: ``issue-analytics thresholds …``."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from issue_analytics.cli.options import AsJson
from issue_analytics.cli.show import fold, say, say_json, table
from issue_analytics.errors import SettingsError
from issue_analytics.threshold_files import ThresholdSet, read_threshold_set, segment_text, write_text_whole
from issue_analytics.thresholds import STANDARD, ThresholdVariables

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Sets of thresholds and their files: where they came from, what differs, export.\n\n"
    "SET is standard, looser, tighter, or a .toml or .json file. A file whose values do not give the digest that it "
    "says was edited by hand, and is refused.",
)

Which = Annotated[str, typer.Argument(metavar="SET", help="standard, looser, tighter, or a .toml or .json file.")]

_MOST: Final = 40
"""Rows about segments; --json has all of them."""

_COMMON: Final = "common"
"""What --segment calls the thresholds of whatever is in no segment."""


@app.command()
def show(which: Which, as_json: AsJson = False) -> None:
    """Show a set: values beside standard, segments, provenance."""
    found = read_threshold_set(which)
    if as_json:
        say_json(_as_told(which, found))
        return
    fold(_headline(which, found))
    if found.checked:
        say("the file says the same digest: its values are those it was written with")
    elif which.endswith((".toml", ".json")):
        say("the file says no digest: whether somebody edited it cannot be told")
    say()
    table(_signed(_side_by_side(STANDARD, found.thresholds, ("standard", "this set", "change"))))
    if found.by is not None:
        say(f"\nsegments by {found.by}: {len(found.segments):,}")
        rows = [{found.by: segment_text(value), **_short_names(own)} for value, own in found.segments.items()]
        table([*rows[:_MOST], {found.by: "all else", **_short_names(found.thresholds)}])
        _say_rest(len(rows))
    if found.provenance:
        say("\nwhere they came from:")
        table([{"name": name, "value": _cell(value)} for name, value in found.provenance.items()], left=("value",))


@app.command()
def diff(first: Which, second: Which, as_json: AsJson = False) -> None:
    """Tell what differs between two sets, variable by variable.

    Exit code 0 if every issue has the same thresholds under both, 1 if not, 2 for a mistake. Provenance is held
    against each other too, but does not make sets differ.
    """
    one, other = read_threshold_set(first), read_threshold_set(second)
    equal = one.digest == other.digest
    variables = _side_by_side(one.thresholds, other.thresholds, ("first", "second", "change"))
    own = _differing_segments(one, other)
    facts = [{name: _cell(value) for name, value in side.provenance.items()} for side in (one, other)]
    told_apart = [name for name in facts[0] | facts[1] if facts[0].get(name) != facts[1].get(name)]
    if as_json:
        say_json(
            {
                "equal": equal,
                "first": _as_told(first, one),
                "second": _as_told(second, other),
                "variables": variables,
                "segments": own,
                "provenance": told_apart,
            }
        )
    else:
        fold(f"first: {_headline(first, one)}")
        fold(f"second: {_headline(second, other)}")
        say()
        table(_signed(variables))
        if own is None:
            say()
            fold(f"segments are told by {one.by} in the first and by {other.by} in the second: they do not line up")
        elif own:
            say(f"\nsegments by {one.by or other.by} that differ: {len({row['segment'] for row in own}):,}")
            table(_signed(own[:_MOST]), left=("variable",))
            _say_rest(len(own))
        if told_apart:
            say()
            fold(f"provenance differs: {', '.join(told_apart)}")
        say("\nthe sets are equal" if equal else "\nthe sets differ")
    if not equal:
        raise typer.Exit(1)


@app.command()
def export(
    which: Which,
    to: Annotated[
        Literal["json", "python"],
        typer.Option(help="A JSON object under the upstream's field names, or a call in the order of its fields."),
    ] = "json",
    segment: Annotated[
        str | None, typer.Option(metavar="VALUE", help=f"Of a set with segments: which one, or {_COMMON}.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write. [default: print it]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Write one set as what the tracker takes."""
    thresholds = _one_of(which, read_threshold_set(which), segment)
    text = thresholds.to_json() if to == "json" else repr(thresholds)
    if out is None:
        say(text)
        return
    if out.exists() and not overwrite:
        raise SettingsError(f"--out {out}: exists already; choose another name, or add --overwrite.")
    write_text_whole(out, f"{text}\n")
    say(f"{thresholds.digest} as {to}: {out}")


def _one_of(which: str, found: ThresholdSet, segment: str | None) -> ThresholdVariables:
    """The thresholds to export: the tracker knows no segments."""
    # the common ones last, so that no segment of a file can take their name
    known = {segment_text(value): own for value, own in found.segments.items()} | {_COMMON: found.thresholds}
    if segment is None and len(known) == 1:
        return found.thresholds
    if segment not in known:
        said = "an export is one set, and here are several" if segment is None else f"no segment {segment!r}"
        # a line in a segment's name must not end that of the message
        names = [name if name.isprintable() else repr(name) for name in (_COMMON, *map(segment_text, found.segments))]
        told = ", ".join([*(f"{name:.40}" for name in names[:20]), *(["…"] if len(names) > 20 else [])])
        raise SettingsError(f"{which}: {said}. Choose by --segment: {told}.")
    return known[segment]


# ---- what is said ---- #


def _headline(which: str, found: ThresholdSet) -> str:
    name = None if found.digest != found.thresholds.digest else found.thresholds.name
    alias = f", the same as {name}" if name is not None and name != which.lower() else ""
    return f"{which}, digest {found.digest}{alias}{f', segments by {found.by}' if found.by else ''}"


def _as_told(which: str, found: ThresholdSet) -> dict[str, Any]:
    return {
        "set": which,
        "digest": found.digest,
        "checked": found.checked,
        "thresholds": found.thresholds.to_dict(),
        "by": found.by,
        "segments": {segment_text(value): own.to_dict() for value, own in found.segments.items()},
        "provenance": dict(found.provenance),
    }


def _side_by_side(
    one: ThresholdVariables, other: ThresholdVariables, names: tuple[str, str, str]
) -> list[dict[str, Any]]:
    values = other.to_dict()
    return [
        dict(zip(("variable", *names), (name, value, values[name], values[name] - value), strict=True))
        for name, value in one.to_dict().items()
    ]


def _differing_segments(one: ThresholdSet, other: ThresholdSet) -> list[dict[str, Any]] | None:
    """The values that differ, by segment; nothing to be told where the segments are of different columns."""
    if one.segments and other.segments and one.by != other.by:
        return None
    return [
        {"segment": segment_text(value), **row}
        for value in dict.fromkeys([*one.segments, *other.segments])
        for row in _side_by_side(one.of(value), other.of(value), ("first", "second", "change"))
        if row["change"]
    ]


def _short_names(thresholds: ThresholdVariables) -> dict[str, int | float]:
    """Values under names that leave room for five in a line."""
    return {name.removesuffix("_multiplier").replace("_", " "): value for name, value in thresholds.to_dict().items()}


def _signed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows for a table: a change says its direction, and 4.1 - 4 is no 0.0999999999999996."""
    return [row | {"change": f"{row['change']:+.6g}" if row["change"] else "="} for row in rows]


def _cell(value: object) -> str:
    """A fact of the provenance as it stands in a file."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _say_rest(rows: int) -> None:
    if rows > _MOST:
        say(f"… and {rows - _MOST:,} more rows; --json has them all")
