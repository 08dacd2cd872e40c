"""The issue service: which store a call goes to, and that nothing is a good answer."""

import inspect
import subprocess
import sys

import polars as pl
import pytest
from histories import MONDAY

import issue_analytics as ia
from issue_analytics.issues.service import CONFIG, ENVIRONMENT
from issue_analytics.issues.store.columns import FRAMES

PAIR = ("organization", "region")


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No configuration of whoever runs the tests, and a home of their own."""
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(tmp_path, name=CONFIG, default=""):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f'{default}\n[stores]\neu = "eu.db"\nus = "{tmp_path}/us.db"\n'
        '[regions]\nus = "us"\n[organizations]\nacme = "eu"\n42 = "us"\n'
    )
    return file


def test_calls_go_to_the_store_of_their_organization_or_region(new_place):
    eu, us = new_place(), new_place()
    service = ia.IssueService.create_delegation(
        {"stores": {"eu": eu, "us": us}, "regions": {"us": "us"}, "organizations": {"acme": "eu", "42": "us"}}
    )
    service.create(1, 7, title="eu", organization="acme")
    service.create(1, 7, title="us", region="us")
    assert service.get(1, 7, organization="acme").title == "eu"
    assert service.get(1, 7, organization=42).title == "us"
    assert service.get(1, 7, organization="42").title == "us"
    assert ia.open_store(us).get(1, 7).title == "us"
    with pytest.raises(ia.SettingsError, match="not both"):
        service.get(1, 7, organization="acme", region="us")
    # without a default, a call that names neither has no store
    assert service.get(1, 7) is None


CALLS = {
    "create": (1, 7), "get": (1, 7), "list": (), "count": (), "update": (1, 7), "delete": ((1, 7),),
    "put": (pl.DataFrame({"project_id": [1], "group_id": [7]}),), "record": ([],),
    "load": (pl.DataFrame(),), "archive": ((1, 7),), "resolve": ((1, 7),), "unresolve": ((1, 7),),
    "unarchive": ((1, 7),), "review": ((1, 7),), "escalate": ((1, 7),), "move": ((1, 7), "resolved"), "ongoing": (),
    "history": (), "occurrences": (), "put_forecasts": (pl.DataFrame(),), "forecasts": (),
    "label": (1, 7, MONDAY, "noise"), "labels": (), "human_escalations": (), "human_exposure": (),
}  # fmt: skip
NEEDED = {"update": {"version": 1}, "move": {"by": "user"}}


def public(kind):
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_the_service_does_all_that_a_store_does():
    assert public(ia.Store) == public(ia.IssueService) - {"store"} == set(CALLS)
    for name in CALLS:
        theirs, ours = (inspect.signature(getattr(kind, name)).parameters for kind in (ia.Store, ia.IssueService))
        apart = {"where", *PAIR}  # what says whose store is meant; all else is the same, defaults and types included
        assert set(ours) & apart
        assert [*theirs.values()] == [one for one in ours.values() if one.name not in apart]


def test_what_a_call_does_not_know_is_refused_whoever_asks(tmp_path):
    service = ia.IssueService.create_delegation({"stores": {"a": str(tmp_path / "a.db")}, "organizations": {"x": "a"}})
    for organization in ("x", "unknown"):
        with pytest.raises(TypeError, match="util"):
            service.archive((1, 7), util="forever", organization=organization)


@pytest.mark.parametrize("name", CALLS)
def test_whoever_is_not_known_has_nothing(name, tmp_path):
    service = ia.IssueService.create_delegation({"stores": {"a": str(tmp_path / "a.db")}, "organizations": {"x": "a"}})
    answers = [
        getattr(service, name)(*CALLS[name], organization="acme", **NEEDED.get(name, {})),
        getattr(service, name)(*CALLS[name], region="mars", **NEEDED.get(name, {})),
    ]
    for answer in answers:
        assert answer is None or (isinstance(answer, int) and answer == 0) or answer.is_empty()
    assert not (tmp_path / "a.db").exists()


def test_nothing_looks_like_what_there_would_be(tmp_path):
    service = ia.IssueService.create_delegation({"stores": {"a": str(tmp_path / "a.db")}, "regions": {"a": "a"}})
    for name in (
        "list",
        "history",
        "labels",
        "forecasts",
        "occurrences",
        "human_escalations",
        "human_exposure",
        "ongoing",
    ):
        some, none = getattr(service, name)(region="a"), getattr(service, name)(region="b")
        assert some.schema == none.schema
    assert service.record([], region="a").schema == service.record([], region="b").schema == FRAMES["issues"]


def test_arguments_are_handed_on(tmp_path):
    service = ia.IssueService.create_delegation({"default": "a", "stores": {"a": str(tmp_path / "a.db")}})
    service.create(1, 7, title="Timeout", first_seen=MONDAY)
    service.archive((1, 7), until="condition", condition={"count": 3}, who="ada", at=MONDAY)
    service.escalate((1, 7), by="condition", forecast=4, at=MONDAY)
    service.review((1, 7), who="bob")
    issue = service.get(1, 7)
    service.update(1, 7, version=issue.version, priority=75)
    assert service.history((1, 7)).select("kind", "who", "forecast").rows() == [
        ("new", None, None), ("archived_until_condition_met", "ada", None), ("escalating", None, 4),
        ("ongoing", "bob", None), ("edited", None, None),
    ]  # fmt: skip
    assert service.count(state="ongoing") == service.list(text="time").height == 1
    service.label(1, 7, MONDAY, "escalated", note="yes", who="ada")
    assert service.labels((1, 7))["note"].to_list() == ["yes"]
    assert service.human_escalations().height == 1
    assert service.delete((1, 7), who="ada") == 1


def test_the_configuration_is_where_it_was_named(tmp_path, monkeypatch):
    service = ia.IssueService.create_delegation()
    # nothing is read before the first call: the file comes later
    config(tmp_path)
    service.create(1, 7, organization="acme")
    assert (tmp_path / "eu.db").exists()

    other = config(tmp_path, "elsewhere/our.toml", default='default = "us"')
    monkeypatch.setenv(ENVIRONMENT, str(other))
    service = ia.IssueService.create_delegation()
    service.create(2, 8, organization="acme")
    assert (tmp_path / "elsewhere" / "eu.db").exists()  # files lie where the configuration does
    assert service.get(1, 7) is None
    service.create(3, 9)
    assert service.get(3, 9, region="us").project_id == 3
    # and an argument comes before both
    assert ia.IssueService.create_delegation(tmp_path / CONFIG).get(1, 7, organization="acme") is not None


def test_a_file_lies_where_the_configuration_does_also_as_a_url(tmp_path):
    folder = tmp_path / "100% ours?"
    folder.mkdir()
    (folder / CONFIG).write_text(f'[stores]\na = "sqlite:///a.db"\nb = "sqlite:///{tmp_path}/b.db"\n'
                                 '[regions]\na = "a"\nb = "b"')  # fmt: skip
    service = ia.IssueService.create_delegation(folder / CONFIG)
    service.create(1, 7, region="a")
    service.create(1, 7, region="b")
    assert (folder / "a.db").exists()
    assert (tmp_path / "b.db").exists()


def test_without_configuration_there_is_one_store_of_ones_own(tmp_path, monkeypatch):
    service = ia.IssueService.create_delegation()
    assert service.create(1, 7).group_id == 7
    assert (tmp_path / "home" / "issue-analytics" / "issues.db").exists()
    assert service.get(1, 7, organization="acme") is None
    monkeypatch.chdir("/")
    assert ia.IssueService.create_delegation().get(1, 7) is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stores = [", "Invalid"),
        ("[stores]\na = 3", r"\[stores\] holds lines"),
        ("stores = 3", r"\[stores\] holds lines"),
        ('[organizations]\nacme = "a"', "acme: .stores. names no such store, only none at all"),
        ('default = "a"\n[stores]\nb = "b.db"', "default: .stores. names no such store, only 'b'"),
        ('default = ["a"]', "default: .stores. names no such store"),
        ('default = "postgresql://ia:geheim@host/db"', "default: .stores. names no such store"),
        ('[organizations]\nacme = "postgresql://ia:geheim@host/db"', "acme: .stores. names no such store"),
        ("[store]", "unknown 'store'"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_told(tmp_path, text, message):
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(ia.SettingsError, match=message) as error:
        ia.IssueService.create_delegation().list()
    assert CONFIG in str(error.value)
    assert "geheim" not in str(error.value)


def test_a_configuration_that_was_named_must_be_there(tmp_path):
    with pytest.raises(ia.SettingsError, match="cannot be read"):
        ia.IssueService.create_delegation(tmp_path / "no.toml").list()


def test_the_service_of_the_package_costs_nothing_until_it_is_used(tmp_path):
    (tmp_path / CONFIG).write_text("nonsense")
    code = "import sys, issue_analytics as ia; ia.issue_service; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "False"
