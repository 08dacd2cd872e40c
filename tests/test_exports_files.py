"""What a user points at: paths, patterns, folders; nothing in them is passed over without a word."""

import gzip
import os

import pytest

from issue_analytics.dataset import import_export
from issue_analytics.errors import ExportError
from issue_analytics.exports import read_occurrences
from issue_analytics.exports.files import content_hash, expand

TABLE = "group_id,detected_at\n7,2026-01-05T09:00:00Z\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "x" / "deep").mkdir(parents=True)
    for name in ("b.csv", "a.csv", "deep/c.csv"):
        (tmp_path / "x" / name).write_text(TABLE)
    return tmp_path / "x"


def test_an_empty_path_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    for use in (expand, read_occurrences, lambda source: import_export(source, tmp_path / "data", progress=False)):
        for source in ("", ["a.csv", ""]):
            with pytest.raises(ExportError, match="an empty path"):
                use(source)
    assert len(expand(".")[0]) == 3


def test_an_empty_folder_is_told_plainly(tmp_path):
    with pytest.raises(ExportError) as caught:
        expand(tmp_path)
    assert str(caught.value) == f"{tmp_path}: an empty folder; there is nothing to read."


@pytest.mark.parametrize("source", ["~nobody-of-this-name/x", "x" * 5000])
def test_what_is_no_path(source):
    with pytest.raises(ExportError, match="not a usable path"):
        expand(source)


def test_files_come_in_one_order(folder):
    names = [str(path.relative_to(folder)) for path in expand(folder)[0]]
    assert names == ["a.csv", "b.csv", "deep/c.csv"]
    assert expand([folder, str(folder / "*.csv")])[0] == expand(folder)[0]


def deny(path, monkeypatch):
    """Make a folder unreadable; for root, who may read all, by the system call that would say so."""
    if os.geteuid():
        path.chmod(0)
        return
    scandir = os.scandir

    def denied(where="."):
        if os.fspath(where) == str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(where)

    monkeypatch.setattr(os, "scandir", denied)


def test_a_folder_that_cannot_be_listed_is_a_reject(folder, tmp_path, monkeypatch):
    deny(folder / "deep", monkeypatch)
    try:
        occurrences, rejects = read_occurrences(folder)
        dataset = import_export(folder, tmp_path / "data", progress=False)
        with pytest.raises(ExportError, match="deep: cannot be read"):
            read_occurrences(folder / "deep")
    finally:
        (folder / "deep").chmod(0o700)
    assert occurrences.height == 1  # a.csv and b.csv have the same content
    for frame in (rejects, dataset.rejects.collect()):
        assert frame.select("source", "reasons").rows() == [
            (str(folder / "deep"), ["cannot be read (Permission denied)."])
        ]
    monkeypatch.undo()
    dataset = import_export(folder, tmp_path / "data", progress=False)
    assert [text for _, text in dataset.outcomes] == ["already imported"] * 3
    assert dataset.rejects.collect().height == 0  # it can be read now


def test_a_link_to_a_folder_is_listed_as_skipped(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "z.csv").write_text(TABLE)
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "circle").symlink_to(folder)
    dataset = import_export(folder, tmp_path / "data", progress=False)
    skipped = {skip["path"]: skip["reason"] for skip in dataset.manifest["skipped"]}
    assert set(skipped) == {str(folder / "link"), str(folder / "circle")}
    assert "a link to a folder" in skipped[str(folder / "link")]
    assert expand(folder / "link")[0] == [folder / "link" / "z.csv"]  # named, it is read


def test_the_hash_is_of_the_unpacked_content(tmp_path):
    (tmp_path / "a").write_text(TABLE)
    (tmp_path / "b").write_bytes(gzip.compress(TABLE.encode()))
    (tmp_path / "c").write_bytes(gzip.compress(TABLE.encode())[:-9])
    hashes = [content_hash(tmp_path / name) for name in "abc"]
    assert hashes[0] == hashes[1] != hashes[2]
    with pytest.raises(ExportError, match="no such file"):
        content_hash(tmp_path / "d")
