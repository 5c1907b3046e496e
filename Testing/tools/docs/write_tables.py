"""Write the tables of README and the site from docs/figures.toml and the catalogue of weights.

A table stands between ``<!-- table: NAME -->`` and ``<!-- /table -->``; what lies between is replaced.

    python Testing/tools/docs/write_tables.py            # write them
    python Testing/tools/docs/write_tables.py --check    # say which are out of date, and fail
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[3]
PAGES = ("README.md", "docs/index.md", "docs/results.md")
FIGURES = TOP / "docs" / "figures.toml"
CATALOGUE = TOP / "adaptsam" / "sam" / "weights.toml"
BLOCK = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def followup(figures: dict[str, Any]) -> str:
    """Dice of each method on a real scan's follow-up; the best of each column in bold."""
    facts = figures["followup"]
    best = [max(column) for column in zip(*(row["dice"] for row in facts["rows"]), strict=True)]
    lines = [f"| Dice | {' | '.join(facts['columns'])} |", "|---" * (1 + len(facts["columns"])) + "|"]
    for row in facts["rows"]:
        cells = [
            f"**{value:.3f}**" if value == top else f"{value:.3f}" for value, top in zip(row["dice"], best, strict=True)
        ]
        lines.append(f"| {row['method']} | {' | '.join(cells)} |")
    note = f"{facts['scan']}; {facts['change']}. Better on {facts['better']}; not on {facts['worse']}."
    return "\n".join([*lines, "", note])


def models(figures: dict[str, Any]) -> str:
    """What `--checkpoint` takes by name: the bundled model and the catalogue."""
    bundled = figures["bundled"]
    lines = ["| name | size | licence | when to use it |", "|---|---|---|---|"]
    use = f"{bundled['use']}, trained on {bundled['trained_on']}"
    lines.append(f"| `{bundled['name']}` | {bundled['size']} | {bundled['licence']} | {use} |")
    known = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
    for name, facts in known.items():
        if not name.startswith("p2sam_"):
            lines.append(f"| `{name}` | {_size(facts)} | {facts['licence']} | {facts['purpose']} |")
    authors = [name for name in known if name.startswith("p2sam_")]
    lines.append(
        f"| `{authors[0]}` and {len(authors) - 1} more | – | {known[authors[0]]['licence']} | P²SAM's authors: SAM "
        "tuned on lung tumours in CT, or on polyps |"
    )
    return "\n".join(lines)


def demo(figures: dict[str, Any]) -> str:
    """What the demo's command takes and gives."""
    facts = figures["demo"]
    return (
        f"It takes {facts['minutes']}. The patient's tumour grew and moved: the contour found has a Dice of "
        f"{facts['tumour']} with the\ntruth, the one that rigid registration moved {facts['tumour_rigid']}."
    )


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {"followup": followup, "models": models, "demo": demo}


def written(text: str, figures: dict[str, Any]) -> str:
    """The page with its tables as they should be.

    Raises:
        KeyError: the page asks for a table that does not exist.
    """
    return BLOCK.sub(lambda found: f"{found[1]}{TABLES[found['name']](figures)}\n{found[3]}", text)


def outdated(top: Path = TOP) -> dict[Path, str]:
    """The pages whose tables differ from the figures, with the text that they should have."""
    figures = tomllib.loads(FIGURES.read_text(encoding="utf-8"))
    pages = [top / page for page in PAGES if (top / page).is_file()]
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    return {page: new for page, text in texts.items() if (new := written(text, figures)) != text}


def _size(facts: dict[str, Any]) -> str:
    size = facts.get("bytes")
    if size is None:
        return "–"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    for page, text in (wrong := outdated()).items():
        if not check:
            page.write_text(text, encoding="utf-8")
        print(f"{page.relative_to(TOP)}: {'out of date' if check else 'written'}")
    return 1 if check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
