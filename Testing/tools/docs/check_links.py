"""Follow every link that stays on this machine, of the site and of the pages that GitHub shows; fail on a dead one.

    mkdocs build --site-dir site
    python Testing/tools/docs/check_links.py site

MkDocs itself looks at the links between its pages. Here are the others: pictures, scripts, anchors in HTML, files that
the site leaves out, README and the pages beside it. Addresses of other machines are counted, not fetched.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

TOP = Path(__file__).resolve().parents[3]
#: What GitHub shows, besides docs/.
SHOWN = ("*.md", ".github/**/*.md", "Resources/**/*.md", "training/**/*.md", "notebooks/*.ipynb", "docs/**/*.md")
MARKDOWN = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


class Page(HTMLParser):
    """The links of a page, and the anchors that others may lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors.update(value for name in ("id", "name") if (value := given.get(name)))
        self.links.extend(value for name in ("href", "src") if (value := given.get(name)))


def dead_on_site(site: Path) -> tuple[list[str], int, int]:
    """The dead links of a built site, as "page: link"; and how many were followed, and how many lead elsewhere."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    dead, followed, elsewhere = [], 0, 0
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of the site's root
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                elsewhere += 1
                continue
            followed += 1
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = there / "index.html" if there.is_dir() else there
            known = there.is_file() and (there not in pages or not parts.fragment or _has(pages[there], parts.fragment))
            if not known:
                dead.append(f"{path.relative_to(site.resolve())}: {link}")
    return dead, followed, elsewhere


def _has(page: Page, fragment: str) -> bool:
    return unquote(fragment) in page.anchors or fragment.startswith("__")


def dead_in_repository(top: Path) -> tuple[list[str], int, int]:
    """The same of the pages that are read in the repository itself, without their anchors."""
    dead, followed, elsewhere = [], 0, 0
    for path in _shown(top):
        for found in MARKDOWN.finditer(path.read_text(encoding="utf-8")):
            link = found[1] or found[2].rstrip("\\")
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                elsewhere += 1
            elif parts.path:
                followed += 1
                if not (path.parent / unquote(parts.path)).exists() and not _made(path, parts.path, top):
                    dead.append(f"{path.relative_to(top)}: {link}")
    return dead, followed, elsewhere


def _shown(top: Path) -> Iterator[Path]:
    for pattern in SHOWN:
        yield from sorted(top.glob(pattern))


def _made(path: Path, link: str, top: Path) -> bool:
    """Whether a link leads to a page of the reference, which only the built site has."""
    return path.is_relative_to(top / "docs") and (path.parent / link).resolve().is_relative_to(top / "docs/reference")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path, help="the folder that mkdocs wrote")
    args = parser.parse_args()
    wrong = 0
    for name, (dead, followed, elsewhere) in (
        ("site", dead_on_site(args.site)),
        ("repository", dead_in_repository(TOP)),
    ):
        print(f"{name}: {followed} links followed, {len(dead)} dead, {elsewhere} lead elsewhere")
        print("".join(f"  {one}\n" for one in dead), end="")
        wrong += len(dead)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
