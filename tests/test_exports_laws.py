"""Law 4 for every format, both JSON paths and both CSV paths give one frame, and round trips."""

import gzip
import json
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from issue_analytics.errors import ExportError
from issue_analytics.exports import (
    files,
    jsonlines,
    lines,
    read_escalations,
    read_hourly_counts,
    read_occurrences,
    read_status_changes,
    reading,
    tables,
)
from issue_analytics.exports.kinds import KINDS
from issue_analytics.exports.reading import Options, read, read_file
from issue_analytics.frames import empty

READERS = {
    "occurrences": read_occurrences,
    "hourly_counts": read_hourly_counts,
    "status_changes": read_status_changes,
    "escalations": read_escalations,
}
NINE = "2026-01-05T09:00:00Z"
PACKS = [bytes, gzip.compress, zstandard.compress]
LAW = settings(max_examples=36, deadline=None, suppress_health_check=[HealthCheck.too_slow])

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.integers(0, 9),
    st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=9),
    st.sampled_from(["", "2026-01-05T09:00:00Z", "2026-01-05T09:00:00", 1767603600, 1767603600.5, "[1]", -0.0, 1e22]),
)  # fmt: skip
odd_values = st.one_of(
    scalars, st.lists(scalars, max_size=2), st.dictionaries(st.text(max_size=3), scalars, max_size=2)
)
stamps = st.sampled_from(["2026-01-05T09:00:00Z", "2026-01-05T10:00:00+00:00", 1767610800, "2026-01-05T12:00:00"])

ROWS = {
    "occurrences": st.fixed_dictionaries(
        {"id": st.sampled_from(["a", "b", "c", "d"]), "project_id": st.integers(0, 2), "fingerprint": st.just(["f"]),
         "issue_title": st.text(max_size=5), "detection_time": stamps},
    ),
    "hourly_counts": st.fixed_dictionaries(
        {"project_id": st.integers(0, 1), "group_id": st.integers(0, 2), "hourBucket": stamps,
         "count()": st.integers(-1, 2)}
    ),
    "status_changes": st.fixed_dictionaries(
        {"project_id": st.just(1), "group_id": st.integers(0, 1), "at": stamps,
         "kind": st.sampled_from(["resolved", "Escalating"]), "cause": st.sampled_from([None, "forecast", "moon"])}
    ),
    "escalations": st.fixed_dictionaries(
        {"group_id": st.integers(0, 1), "escalated_at": stamps,
         "ended_at": st.sampled_from([None, "2026-01-05T09:30:00Z"])}
    ),
}  # fmt: skip


def spoilt(kind):
    """Rows of a kind, some with a value that is none, a field gone, or a new one."""
    rows = ROWS[kind]
    return rows.flatmap(
        lambda row: st.one_of(
            st.just(row),
            st.tuples(st.sampled_from(sorted(row)), odd_values).map(lambda change: {**row, change[0]: change[1]}),
            st.sampled_from(sorted(row)).map(lambda name: {key: row[key] for key in row if key != name}),
            odd_values.map(lambda value: {**row, "extra": value}),
        )
    )


def some(rows):
    """One to twenty: a row more costs nothing, a file more does."""
    return st.lists(rows, min_size=1, max_size=3) | st.lists(rows, min_size=8, max_size=20)


broken_lines = st.one_of(
    st.sampled_from(["{", "null", "3", "[]", "{}", '{"id": NaN}', "{} {}", '{"id": "\\ud800"}', '"', '{"a": 1,}']),
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=9),
)


def in_file(content, look, name="export"):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return look(path)


def balances(tally, read_rows, good, bad):
    assert tally.read == read_rows
    assert tally.read == tally.accepted + tally.rejected + tally.duplicates + tally.other
    assert (good.height, bad.height) == (tally.accepted, tally.rejected)


@pytest.mark.parametrize("kind", READERS)
@LAW
@given(data=st.data())
def test_json_lines_lose_nothing_and_both_paths_agree(kind, data):
    rows = data.draw(some(spoilt(kind).map(json.dumps) | broken_lines))
    sure = json.dumps(data.draw(ROWS[kind]))
    text = "\n".join([sure, *rows])
    written = 1 + sum(bool(row.strip(" \t\r")) and bool(row.encode().strip()) for row in rows)

    def both(path):
        return [read(path.parent, kind, Options(format=kind), fast=fast) for fast in (True, False)]

    (good, bad, tally, _), (slow_good, slow_bad, slow_tally, _) = in_file(text.encode(), both)
    balances(tally, written, good, bad)
    assert tally == slow_tally
    assert_frame_equal(good, slow_good)
    assert_frame_equal(bad.drop("source"), slow_bad.drop("source"))


@pytest.mark.parametrize("field", ["id", "issue_title", "project_id", "group_id", "type", "level", "detection_time"])
@pytest.mark.parametrize(
    "value",
    [
        "1.0",
        "1e22",
        "1e-7",
        "-0.0",
        "0.1",
        "123456789.123456789",
        "true",
        '"[a]"',
        '["a"]',
        '{"\\"": 1}',
        "1e3",
        '"\\u00e9"',
    ],
)
def test_both_paths_read_a_value_alike(field, value, tmp_path):
    row = {"id": "a", "project_id": 1, "fingerprint": ["f"], "issue_title": "t", "detection_time": 1767603600}
    text = json.dumps({**row, field: "HERE"}).replace('"HERE"', value)
    (tmp_path / "o.jsonl").write_text("\n".join([json.dumps({**row, "id": "b"}), text]))
    fast, slow = (read(tmp_path / "o.jsonl", "occurrences", Options(), fast=fast) for fast in (True, False))
    assert_frame_equal(fast[0], slow[0])
    assert_frame_equal(fast[1], slow[1])


def test_blank_lines_count_as_lines(tmp_path):
    row = {"id": "a", "project_id": 1, "fingerprint": ["f"], "detection_time": None}
    (tmp_path / "o.jsonl").write_text("\n".join(["", json.dumps(row), "", " ", json.dumps(row), ""]))
    _, bad, tally, _ = read(tmp_path / "o.jsonl", "occurrences", Options())
    assert bad["row"].to_list() == [2, 5]
    assert tally.read == 2


@pytest.mark.parametrize("kind", READERS)
@LAW
@given(data=st.data())
def test_arrays_and_responses_lose_nothing(kind, data):
    rows = data.draw(some(spoilt(kind) | st.just(3)))
    indent = data.draw(st.sampled_from([None, 1]))
    for document in (rows, {"data": rows, "meta": []}):
        if document is rows and rows[0] == 3:
            continue
        good, bad, tally, _ = in_file(
            json.dumps(document, indent=indent).encode(), lambda path: read(path.parent, kind, Options(format=kind))
        )
        balances(tally, len(rows), good, bad)


cells = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6),
    st.sampled_from(['"', ",", "\n", "a\nb", "\r\n", "=1+1", "2026-01-05T09:00:00Z", "2026-01-05T10:00Z", "1"]),
)  # fmt: skip


@LAW
@given(some(st.tuples(cells, cells, cells)), st.sampled_from(",;\t|"))
@example([("1", "2026-01-05T09:00:00Z", '"')], ",")
def test_csv_loses_nothing_and_both_paths_agree(rows, separator):
    def quoted(cell):
        return '"' + cell.replace('"', '""') + '"'

    text = "\n".join(
        [separator.join(["group_id", "hour", "count"]), *(separator.join(map(quoted, row)) for row in rows)]
    )

    def both(path):
        return [read(path.parent, "hourly_counts", Options(), fast=fast) for fast in (True, False)]

    (good, bad, tally, _), (slow_good, slow_bad, _, _) = in_file(text.encode(), both)
    balances(tally, len(rows), good, bad)
    assert_frame_equal(good, slow_good)
    assert_frame_equal(bad.drop("source"), slow_bad.drop("source"))


@pytest.mark.parametrize("fast", [True, False])
def test_lines_keep_their_numbers_where_a_block_ends_in_a_blank_one(tmp_path, monkeypatch, fast):
    titles = ["t" * 500] * 400 + ["t" * 100_000]  # a part ends with the last of them
    good = [json.dumps({"group_id": 7, "detected_at": NINE, "title": title}) for title in titles]
    first = "\n".join(["{broken", *good, ""])
    (tmp_path / "o.jsonl").write_text(first + "\n{broken")
    # the file comes in two chunks, and the first block is the first of them, less its line end
    chunks = partial(lines.pieces, block=len(first) + 1)
    monkeypatch.setattr(reading, "pieces", lambda stream: chunks(cut(stream, len(first) + 1)))
    _, rejects, tally, _ = read(tmp_path / "o.jsonl", "occurrences", Options(), fast=fast)
    assert (rejects["row"].to_list(), tally.read) == ([1, 404], 403)


def cut(stream, size):
    text = b"".join(stream)
    yield text[:size]
    yield text[size:]


def test_many_short_lines_are_read_some_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonlines, "_MANY", 300)
    monkeypatch.setattr(jsonlines, "_SMALL", 300)
    records = ["{}", json.dumps({"group_id": 7, "detected_at": NINE}), "", "{broken"]
    (tmp_path / "o.jsonl").write_text("\n".join(records * 500))
    (tmp_path / "n.jsonl").write_text("\n".join(['{"activity": []}', "[]", '{"activity": [null]}', ""] * 500))
    for name, kind, read_rows in (("o.jsonl", "occurrences", 1_500), ("n.jsonl", "status_changes", 1_000)):
        good, rejects, tally, _ = read(tmp_path / name, kind, Options(), fast=True)
        slow_good, slow_rejects, slow_tally, _ = read(tmp_path / name, kind, Options(), fast=False)
        assert_frame_equal(good, slow_good)
        assert_frame_equal(rejects.sort("row"), slow_rejects.sort("row"))  # broken ones come last in each part
        assert tally.read == slow_tally.read == read_rows
        heights = [sum(part.read.values()) for part in read_file(tmp_path / name, Options())]
        assert max(heights) <= 300


OF_OTHER_KINDS = {
    "a message": ("status_changes", {"payload_type": "status_change", "new_status": 2, "update_date": NINE}),
    "a message without its time": ("status_changes", {"detection_time": None, "new_status": 2, "update_date": NINE}),
    "a count": ("hourly_counts", {"id": None, "fingerprint": None, "detection_time": None, "group_id": 7, "hour": NINE,
                                  "count": 3}),
    "fields of all kinds": ("occurrences", {"new_status": 2, "hour": NINE, "count": 3, "kind": {"a": 1}, "source": []}),
    "another time": ("occurrences", {"received_at": NINE}),
    "another title": ("occurrences", {"title": "t", "issue_title": None}),
    "an event": ("occurrences", {"event": {"event_id": "e"}}),
}  # fmt: skip


@pytest.mark.parametrize("what", OF_OTHER_KINDS)
def test_a_file_that_begins_with_occurrences_may_hold_anything(tmp_path, what):
    kind, odd = OF_OTHER_KINDS[what]
    usual = {"id": "a", "project_id": 1, "fingerprint": ["f"], "detection_time": 1767603600.5, "issue_title": "b"}
    records = [{**usual, "id": str(number)} for number in range(60)]
    (tmp_path / "o.jsonl").write_text("\n".join(map(json.dumps, [*records, {**usual, **odd}])))
    fast, slow = (list(read_file(tmp_path / "o.jsonl", Options(), fast=fast)) for fast in (True, False))
    assert [part.accepted.keys() for part in fast] == [part.accepted.keys() for part in slow]
    for part, same in zip(fast, slow, strict=True):
        assert part.read == same.read
        for name, frame in part.accepted.items():
            assert_frame_equal(frame, same.accepted[name])
    assert sum((Counter(part.read) for part in fast), Counter()) == Counter(["occurrences"] * 60 + [kind])


def test_rows_that_lack_most_of_many_cells_are_read_some_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_SLOW_CELLS", 1_000)
    names = ["group_id", "hour", "count", *(f"c{number}" for number in range(97))]
    (tmp_path / "c.csv").write_text(",".join(names) + "\n" + f"1,{NINE},3\n" * 55)
    heights = [sum(part.read.values()) for part in read_file(tmp_path / "c.csv", Options())]
    assert heights == [10, 10, 10, 10, 10, 5]


def test_a_mark_at_the_beginning_of_the_rows_is_text(tmp_path):
    # as where two files were put together
    (tmp_path / "c.csv").write_text("group_id,hour,count\n\ufeff1,2026-01-05T09:00:00Z,3\n2,2026-01-05T09:00:00Z,4\n")
    fast, slow = (read(tmp_path / "c.csv", "hourly_counts", Options(), fast=fast) for fast in (True, False))
    assert_frame_equal(fast[0], slow[0])
    assert_frame_equal(fast[1], slow[1])
    assert fast[1]["reasons"].to_list() == [['group_id: not a whole number: "\ufeff1"']]


torn = st.lists(st.sampled_from(['"', '"', '""', ",", "\n", "\r\n", "\r", "a", " ", "é"]), max_size=12).map("".join)


@settings(max_examples=120, deadline=None)
@given(st.lists(torn | st.just('1,2026-01-05T09:00:00Z,"3"'), min_size=1, max_size=9), st.sampled_from([1, 40, 2**25]))
@example(['2,2026-01-05T09:00:00Z,"open', "1,2026-01-05T09:00:00Z,3"], 2**25)
def test_torn_quotes_swallow_no_line(texts, block):
    # no quote of the first part reaches this row: the one before it is no quoted cell
    text = "\n".join(["group_id,hour,count", *texts, "x", "9,2026-01-05T09:00:00Z,4", ""])

    def both(path):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "pieces", partial(lines.pieces, block=block))
            return [read(path.parent, "hourly_counts", Options(), fast=fast) for fast in (True, False)]

    (good, bad, tally, _), (slow_good, slow_bad, slow_tally, _) = in_file(text.encode(), both)
    balances(tally, tally.read, good, bad)
    assert tally == slow_tally
    assert_frame_equal(good, slow_good)
    assert_frame_equal(bad.drop("source"), slow_bad.drop("source"))
    assert tally.read >= 2
    assert 9 in good["group_id"]


@LAW
@given(
    st.lists(
        st.tuples(st.integers(-1, 2), st.sampled_from([None, 0, 3600, 5400, 7200]), st.integers(-1, 2)), min_size=1
    )
)
def test_parquet_loses_nothing(rows):
    frame = pl.DataFrame(rows, schema=["group_id", "hour", "count"], orient="row").with_columns(
        pl.from_epoch(pl.col("hour").cast(pl.Int64) + 1767603600).dt.replace_time_zone("UTC")
    )
    with tempfile.TemporaryDirectory() as folder:
        frame.write_parquet(Path(folder) / "h.parquet")
        good, bad, tally, _ = read(folder, "hourly_counts", Options())
    balances(tally, len(rows), good, bad)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_any_bytes_are_an_export_error_or_add_up(content):
    def look(path):
        try:
            return read(path, "occurrences", Options())
        except ExportError as error:
            return str(error)

    found = in_file(content, look)
    if isinstance(found, str):
        assert "export" in found
        assert "\n" not in found
    else:
        tally = found[2]
        assert tally.read == tally.accepted + tally.rejected + tally.duplicates + tally.other


FRAMES = {
    "occurrences": pl.DataFrame(
        {
            "occurrence_id": ["a" * 32, "two, \"words\"\n", "c"],
            "event_id": [None, "b" * 32, "e"],
            "project_id": [0, 1, 2],
            "group_id": [1, 2**62, 3],
            "type": [None, 1001, 1],
            "fingerprint": [["a", "b"], ["c"], ["[x]"]],
            "title": [None, "=1+1; <b>", "\x1b[31m é"],
            "level": ["info", "error", "x"],
            "detected_at": [1767603600000000, 1767603600000001, 1767603600123456],
            "received_at": [None, 1767603600000001, 1767689999123456],
        }
    ),
    "hourly_counts": pl.DataFrame(
        {"project_id": [0, 1], "group_id": [1, 1], "hour": [1767603600000000] * 2, "count": [0, 2**40]}
    ),
    "status_changes": pl.DataFrame(
        {
            "project_id": [0, 1], "group_id": [1, 1], "at": [1767603600123456] * 2, "kind": ["escalating", "note"],
            "cause": ["forecast", None], "forecast": [7, None], "source": ["activity", "status_change"],
        }
    ),
    "escalations": pl.DataFrame(
        {
            "project_id": [0, 1], "group_id": [1, 1], "escalated_at": [1767603600123456] * 2,
            "ended_at": [None, 1767603700000000], "provenance": ["incident", "human"],
        }
    ),
}  # fmt: skip


def as_text(frame):
    times = pl.selectors.datetime().dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")
    return frame.with_columns(times)


def as_csv(frame):
    lists = [
        pl.Series(column.name, [None if cell is None else json.dumps(cell.to_list()) for cell in column])
        if column.dtype == pl.List
        else column
        for column in as_text(frame)
    ]
    return pl.DataFrame(lists).write_csv().encode()


def as_parquet(frame):
    with tempfile.NamedTemporaryFile() as file:
        frame.write_parquet(file.name)
        return Path(file.name).read_bytes()


WRITERS = {
    "lines": lambda frame: as_text(frame).write_ndjson().encode(),
    "array": lambda frame: as_text(frame).write_json().encode(),
    "csv": as_csv,
    "parquet": as_parquet,
}


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", READERS)
def test_round_trips(kind, writer, pack, tmp_path):
    frame = FRAMES[kind].cast(dict(empty(KINDS[kind].contract).schema))
    path = tmp_path / "export"
    path.write_bytes(pack(WRITERS[writer](frame)))
    again, rejects = READERS[kind](path)
    assert rejects.rows() == []
    assert_frame_equal(again, frame)


def test_blocks_of_any_size_give_the_same(tmp_path, monkeypatch):
    rows = [
        {"id": str(number % 290), "project_id": 1, "fingerprint": ["f"], "detection_time": 1767603600 + number,
         "issue_title": "é\n" * (number % 7)}
        for number in range(300)
    ]  # fmt: skip
    texts = [json.dumps(row, ensure_ascii=False) for row in rows]
    texts[100] = "{broken"
    texts[200] = ""
    (tmp_path / "o.jsonl").write_text("\n".join(texts))
    (tmp_path / "o.json").write_text(json.dumps(rows))
    whole = {name: read(tmp_path / name, "occurrences", Options()) for name in ("o.jsonl", "o.json")}
    for size in (1, 500, 7_000):
        monkeypatch.setattr(files, "CHUNK", size)
        monkeypatch.setattr(jsonlines, "_SMALL", size)
        monkeypatch.setattr(reading, "pieces", partial(lines.pieces, block=size))
        monkeypatch.setattr(reading, "documents", partial(lines.documents, block=size))
        for name, (good, bad, tally, _) in whole.items():
            again = read(tmp_path / name, "occurrences", Options())
            assert_frame_equal(again[0], good)
            assert_frame_equal(again[1], bad)
            assert again[2] == tally
    assert whole["o.jsonl"][1]["row"].to_list() == [101]
