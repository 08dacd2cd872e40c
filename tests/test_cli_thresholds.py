"""``issue-analytics thresholds`` as a user meets it."""

import ast
import json
import os
from datetime import date

import pytest
from commands import Shell
from rich.cells import cell_len

from issue_analytics.threshold_files import load_thresholds, read_threshold_set, write_thresholds
from issue_analytics.thresholds import LOOSER, STANDARD, TIGHTER, ThresholdVariables

SHELL = Shell()
OTHER = ThresholdVariables(4.1, 4, 7, 1.75, 5)
OWN = {"<1/day": TIGHTER, "1-10/day": STANDARD, ">=1000/day": OTHER}
PROVENANCE = {"data": "acme, May to July", "run": "runs/a", "date": date(2026, 8, 3), "recall": 0.61, "held": True}
HOSTILE = "\x1b[31mred\x1b[0m [bold]b[/bold]\nthe sets are equal\r\x07 \u202egnp.exe " + "long " * 40


def run(*arguments, cwd, code=0):
    done = SHELL.run(("thresholds", *arguments), cwd=cwd, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    told = done.stdout + done.stderr
    assert all(character.isprintable() or character == "\n" for character in told)
    if not {"--json", "export"} & set(arguments):
        assert max(map(cell_len, done.stdout.splitlines()), default=0) <= 80
    return done


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thresholds")
    write_thresholds(folder / "acme.toml", OTHER, provenance=PROVENANCE, by="volume", segments=OWN)
    write_thresholds(folder / "beta.toml", TIGHTER, by="volume", segments={"<1/day": TIGHTER, "1-10/day": LOOSER})
    write_thresholds(folder / "types.toml", OTHER, by="type", segments={1: TIGHTER, None: LOOSER})
    write_thresholds(folder / "plain.toml", OTHER, provenance={"run": "runs/b"})
    write_thresholds(folder / "other.toml", OTHER, provenance={"run": "runs/c"})
    write_thresholds(
        folder / "hostile.toml", OTHER, provenance={HOSTILE: HOSTILE}, by="branch", segments={HOSTILE: TIGHTER}
    )
    (folder / "hand.toml").write_text("std_multiplier = 4.1\n")
    (folder / "hand.json").write_text('{"std_multiplier": 6}')
    text = (folder / "plain.toml").read_text()
    (folder / "edited.toml").write_text(text.replace("max_bursty_multiplier = 5", "max_bursty_multiplier = 4"))
    (folder / "broken.toml").write_text("std_multiplier = lots")
    return folder


def rows(text, heading):
    """The cells of the table under a heading, which are no empty ones."""
    lines = text.split(heading, 1)[1].split("\n\n")[0].splitlines()
    return [line.split() for line in lines[1:]]


# ---- show ---- #


def test_show_says_where_a_set_came_from_and_what_differs_from_standard(work):
    text = run("show", "acme.toml", cwd=work).stdout
    digest = read_threshold_set(work / "acme.toml").digest
    assert text.startswith(f"acme.toml, digest {digest}, segments by volume\nthe file says the same digest: ")
    assert rows(text, "variable ") == [
        ["std_multiplier", "5", "4.1", "-0.9"],
        ["min_spike_multiplier", "5", "4", "-1"],
        ["max_spike_multiplier", "8", "7", "-1"],
        ["min_bursty_multiplier", "2", "1.75", "-0.25"],
        ["max_bursty_multiplier", "5", "5", "="],
    ]
    assert rows(text, "segments by volume: 3\nvolume ") == [
        ["<1/day", "4", "4", "7", "2", "4"],
        ["1-10/day", "5", "5", "8", "2", "5"],
        [">=1000/day", "4.1", "4", "7", "1.75", "5"],
        ["all", "else", "4.1", "4", "7", "1.75", "5"],
    ]
    came_from = [" ".join(row) for row in rows(text, "where they came from:\nname ")]
    assert came_from == ["data acme, May to July", "run runs/a", "date 2026-08-03", "recall 0.61", "held true"]


def test_show_says_what_cannot_be_told_of_a_file_by_hand(work):
    text = run("show", "hand.toml", cwd=work).stdout
    assert "the file says no digest: whether somebody edited it cannot be told" in text
    assert "segments" not in text
    assert "where they came from" not in text
    assert "no digest" in run("show", "hand.json", cwd=work).stdout
    assert "the file" not in run("show", "tighter", cwd=work).stdout
    write_thresholds(work / "named.toml", LOOSER)
    assert run("show", "named.toml", cwd=work).stdout.startswith("named.toml, digest c9785df5, the same as looser\n")


def test_show_tells_a_program_everything(work):
    assert json.loads(run("show", "acme.toml", "--json", cwd=work).stdout) == {
        "set": "acme.toml",
        "digest": read_threshold_set(work / "acme.toml").digest,
        "checked": True,
        "thresholds": OTHER.to_dict(),
        "by": "volume",
        "segments": {value: own.to_dict() for value, own in OWN.items()},
        "provenance": PROVENANCE | {"date": "2026-08-03"},
    }
    told = json.loads(run("show", "hand.toml", "--json", cwd=work).stdout)
    assert (told["checked"], told["by"], told["segments"], told["provenance"]) == (False, None, {}, {})


def test_many_segments_are_told_in_a_screenful(tmp_path):
    own = {project: ThresholdVariables(project / 100) for project in range(100)}
    write_thresholds(tmp_path / "many.toml", STANDARD, by="project_id", segments=own)
    text = run("show", "many.toml", cwd=tmp_path).stdout
    assert len(rows(text, "project_id ")) == 42  # forty, all else, and what was left out
    assert "… and 60 more rows; --json has them all" in text
    text = run("diff", "many.toml", "standard", cwd=tmp_path, code=1).stdout
    assert "segments by project_id that differ: 100\n" in text
    assert "… and 60 more rows" in text
    told = json.loads(run("diff", "many.toml", "standard", "--json", cwd=tmp_path, code=1).stdout)
    assert len(told["segments"]) == 100
    line = run("export", "many.toml", cwd=tmp_path, code=2).stderr
    assert line.endswith("--segment: common, " + ", ".join(map(str, range(19))) + ", ….\n")


# ---- diff ---- #


def test_diff_tells_variable_by_variable_what_changed(work):
    text = run("diff", "acme.toml", "beta.toml", cwd=work, code=1).stdout
    digests = [read_threshold_set(work / name).digest for name in ("acme.toml", "beta.toml")]
    assert text.startswith(
        f"first: acme.toml, digest {digests[0]}, segments by volume\n"
        f"second: beta.toml, digest {digests[1]}, segments by volume\n"
    )
    assert rows(text, "variable ") == [
        ["std_multiplier", "4.1", "4", "-0.1"],
        ["min_spike_multiplier", "4", "4", "="],
        ["max_spike_multiplier", "7", "7", "="],
        ["min_bursty_multiplier", "1.75", "2", "+0.25"],
        ["max_bursty_multiplier", "5", "4", "-1"],
    ]
    # <1/day is the same in both; >=1000/day has the common ones in the second
    assert rows(text, "segments by volume that differ: 2\nsegment ") == [
        ["1-10/day", "std_multiplier", "5", "6", "+1"],
        ["1-10/day", "max_spike_multiplier", "8", "9", "+1"],
        ["1-10/day", "max_bursty_multiplier", "5", "6", "+1"],
        [">=1000/day", "std_multiplier", "4.1", "4", "-0.1"],
        [">=1000/day", "min_bursty_multiplier", "1.75", "2", "+0.25"],
        [">=1000/day", "max_bursty_multiplier", "5", "4", "-1"],
    ]
    assert "provenance differs: data, run, date, recall, held\n" in text
    assert text.endswith("\nthe sets differ\n")


def test_equal_sets_are_said_to_be(work):
    text = run("diff", "plain.toml", "other.toml", cwd=work).stdout
    assert [row[-1] for row in rows(text, "variable ")] == ["="] * 5
    assert "provenance differs: run\n" in text
    assert text.endswith("\nthe sets are equal\n")
    assert "provenance" not in run("diff", "acme.toml", "acme.toml", cwd=work).stdout
    run("diff", "standard", "STANDARD", cwd=work)
    # a segment with the common values changes nothing
    write_thresholds(work / "inert.toml", OTHER, by="volume", segments={"silent": OTHER})
    assert run("diff", "inert.toml", "plain.toml", cwd=work).stdout.endswith("\nthe sets are equal\n")


def test_only_the_common_values_or_only_a_segment_may_differ(work):
    text = run("diff", "plain.toml", "acme.toml", cwd=work, code=1).stdout
    assert [row[-1] for row in rows(text, "variable ")] == ["="] * 5
    assert "segments by volume that differ: 2\n" in text
    assert text.endswith("\nthe sets differ\n")
    text = run("diff", "standard", "hand.toml", cwd=work, code=1).stdout
    assert rows(text, "variable ")[0] == ["std_multiplier", "5", "4.1", "-0.9"]  # not -0.9000000000000004
    assert "segments" not in text


def test_segments_of_different_columns_do_not_line_up(work):
    text = " ".join(run("diff", "acme.toml", "types.toml", cwd=work, code=1).stdout.split())
    assert "segments are told by volume in the first and by type in the second: they do not line up" in text
    assert json.loads(run("diff", "acme.toml", "types.toml", "--json", cwd=work, code=1).stdout)["segments"] is None


@pytest.mark.parametrize(("second", "code"), [("plain.toml", 1), ("acme.toml", 0)])
def test_diff_tells_a_program_everything(work, second, code):
    told = json.loads(run("diff", "acme.toml", second, "--json", cwd=work, code=code).stdout)
    assert told["equal"] == (code == 0)
    for side, name in (("first", "acme.toml"), ("second", second)):
        assert told[side] == json.loads(run("show", name, "--json", cwd=work).stdout)
    values = OTHER.to_dict()
    assert told["variables"] == [
        {"variable": name, "first": value, "second": value, "change": 0} for name, value in values.items()
    ]
    assert len(told["segments"]) == (0 if code == 0 else 3 + 4)
    assert all(row["change"] == row["second"] - row["first"] != 0 for row in told["segments"])
    assert told["provenance"] == ([] if code == 0 else ["data", "run", "date", "recall", "held"])


# ---- export ---- #


def test_export_gives_what_the_tracker_takes(work):
    told = run("export", "plain.toml", cwd=work).stdout
    assert list(json.loads(told).items()) == [
        ("std_multiplier", 4.1),
        ("min_spike_multiplier", 4),
        ("max_spike_multiplier", 7),
        ("min_bursty_multiplier", 1.75),
        ("max_bursty_multiplier", 5),
    ]
    call = ast.parse(run("export", "plain.toml", "--to", "python", cwd=work).stdout, mode="eval").body
    assert call.func.id == "ThresholdVariables"
    assert [value.value for value in call.args] == [4.1, 4, 7, 1.75, 5]
    assert run("export", "looser", "--to", "python", cwd=work).stdout == "ThresholdVariables(6, 5, 9, 2, 6)\n"


def test_an_export_of_several_sets_says_which(work):
    for segment, own in [("<1/day", TIGHTER), ("common", OTHER), (">=1000/day", OTHER)]:
        assert json.loads(run("export", "acme.toml", "--segment", segment, cwd=work).stdout) == own.to_dict()
    assert json.loads(run("export", "types.toml", "--segment", 1, cwd=work).stdout) == TIGHTER.to_dict()
    assert json.loads(run("export", "types.toml", "--segment", "unknown", cwd=work).stdout) == LOOSER.to_dict()


def test_an_export_to_a_file_is_read_again(work, tmp_path):
    told = run("export", "plain.toml", "--out", tmp_path / "new" / "set.json", cwd=work).stdout
    assert told.startswith(f"{OTHER.digest} as json: ")
    assert load_thresholds(tmp_path / "new" / "set.json") == OTHER
    line = run("export", "looser", "--out", tmp_path / "new" / "set.json", cwd=work, code=2).stderr
    assert "exists already; choose another name, or add --overwrite" in line
    assert load_thresholds(tmp_path / "new" / "set.json") == OTHER
    run("export", "looser", "--out", tmp_path / "new" / "set.json", "--overwrite", cwd=work)
    assert load_thresholds(tmp_path / "new" / "set.json") == LOOSER


# ---- mistakes ---- #


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "standart"], 2, "no such set of thresholds. There are standard, looser, tighter"),
        (["show", "absent.toml"], 2, "absent.toml: cannot be read"),
        (["show", "broken.toml"], 2, "broken.toml: not TOML"),
        (["show", "edited.toml"], 2, f"edited.toml: says digest '{OTHER.digest}', but its values give"),
        (["diff", "standard", "edited.toml"], 2, "if the edit is meant, let it say digest = "),
        (["diff", "absent.toml", "standard"], 2, "absent.toml: cannot be read"),
        (["export", "edited.toml"], 2, "edited.toml: says digest"),
        (["export", "acme.toml"], 2, "here are several. Choose by --segment: common, <1/day, 1-10/day, >=1000/day."),
        (["export", "acme.toml", "--segment", "silent"], 2, "no segment 'silent'. Choose by --segment: common, <1/day"),
        (["export", "plain.toml", "--segment", "silent"], 2, "no segment 'silent'. Choose by --segment: common."),
        (["export", "hostile.toml"], 2, "hostile.toml: an export is one set"),
        (["export", "plain.toml", "--out", "plain.toml"], 2, "exists already"),
        (["export", "plain.toml", "--out", "plain.toml/x.json"], 3, "cannot be written"),
        (["export", "plain.toml", "--out", ".", "--overwrite"], 3, "cannot be written"),
    ],
)
def test_a_mistake_is_one_line(work, arguments, code, message):
    before = {path.name: path.read_bytes() for path in work.iterdir()}
    done = run(*arguments, cwd=work, code=code)
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert {path.name: path.read_bytes() for path in work.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show"], "SET"),
        (["diff", "standard"], "SET"),
        (["diff", "standard", "looser", "tighter"], "tighter"),
        (["export", "standard", "--to", "yaml"], "yaml"),
        (["tune"], "tune"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(work, arguments, message):
    done = run(*arguments, cwd=work, code=2)
    assert message in done.stderr
    assert done.stdout == ""


def test_text_of_a_file_reaches_the_terminal_harmless(work):
    text = run("show", "hostile.toml", cwd=work).stdout
    assert "[bold]b[/bold]" in text
    assert "gnp.exe" in text
    text = run("diff", "hostile.toml", "standard", cwd=work, code=1).stdout
    assert text.endswith("\nthe sets differ\n")
    assert "the sets are equal" not in text.splitlines()
    told = json.loads(run("show", "hostile.toml", "--json", cwd=work).stdout)
    assert told["provenance"] == {HOSTILE: HOSTILE}
    assert list(told["segments"]) == [HOSTILE]


def test_help_says_what_the_exit_codes_mean(work):
    text = " ".join(run("diff", "--help", cwd=work).stdout.split())
    assert "Exit code 0 if every issue has the same thresholds under both, 1 if not, 2 for a mistake." in text
    text = run("--help", cwd=work).stdout
    for command in ("show", "diff", "export"):
        assert f"\n  {command} " in text
    assert "..." not in text.split("Commands:")[1]
