"""Write the tables of the lifecycle into data/README.md, between their markers.

.venv/bin/python tools/lifecycle.py
"""

from pathlib import Path

from issue_analytics.issues.lifecycle import documentation

README = Path(__file__).parents[1] / "data" / "README.md"
BEGIN, END = "<!-- made by tools/lifecycle.py -->\n", "<!-- end of what tools/lifecycle.py made -->\n"

if __name__ == "__main__":
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise SystemExit(f"{README}: no markers to write between.")
    README.write_text(f"{before}{BEGIN}\n{documentation()}\n{END}{after}")
