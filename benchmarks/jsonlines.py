"""JSON lines of occurrence records to a validated dataset, against polars's bare scan of the same columns.

Run with ``python benchmarks/jsonlines.py [--groups 2000] [--copies 1] [--rounds 5]``; each variant runs in a process
of its own. 2,000 groups make 557,000 records of 418 MB; ``--copies 10`` repeats them with other ids, for the peak of
memory. What a process loads only once, such as pandera, is loaded by a few records before the clock starts.
"""

import argparse
import gzip
import shutil
import tempfile
from itertools import islice
from pathlib import Path

import polars as pl
from paired import one, paired

from issue_analytics.dataset import import_export
from issue_analytics.simulate import simulate

COLUMNS = {
    "id": pl.String,
    "event_id": pl.String,
    "project_id": pl.Int64,
    "group_id": pl.Int64,
    "type": pl.Int64,
    "fingerprint": pl.List(pl.String),
    "issue_title": pl.String,
    "level": pl.String,
    "detection_time": pl.Float64,
    "payload_type": pl.String,
}


def make(path: Path, groups: int, copies: int) -> None:
    with tempfile.TemporaryDirectory() as folder, path.open("wb") as out:
        simulate(groups=groups, seed=1).write(folder, formats=["occurrences"], progress=False)
        for copy in range(copies):
            for packed in sorted(Path(folder).glob("*.jsonl.gz")):
                with gzip.open(packed) as lines:
                    if not copy:
                        shutil.copyfileobj(lines, out)
                    else:
                        out.writelines(b'{"id":"%08x' % copy + line[15:] for line in lines)


def work(name: str, path: str) -> None:
    def scan(path: str | Path) -> object:
        return pl.scan_ndjson(path, schema=COLUMNS).select(list(COLUMNS)).collect()

    with tempfile.TemporaryDirectory() as folder, Path(path).open("rb") as lines:

        def load(path: str | Path) -> object:
            return import_export(path, Path(folder) / Path(path).stem, progress=False)

        few = Path(folder) / "few.jsonl"
        few.write_bytes(b"".join(islice(lines, 100)))
        run = scan if name == "scan_ndjson" else load
        run(few)
        one(lambda: run(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=2000)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only")
    parser.add_argument("--file")
    options = parser.parse_args()
    if options.only:
        work(options.only, options.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "occurrences.jsonl"
        make(path, options.groups, options.copies)
        print(f"{path.stat().st_size / 1e6:,.0f} MB of JSON lines; medians of {options.rounds} rounds")
        names = ["scan_ndjson", "import_export"] if options.copies < 5 else ["import_export"]
        paired(__file__, names, options.rounds, "--file", str(path))


if __name__ == "__main__":
    main()
