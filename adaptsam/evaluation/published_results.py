"""The papers' own figures, to stand beside ours."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class PublishedTable:
    """One table: ``rows`` by method, with a figure as it is printed, or "–", for each column."""

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]


@cache
def published_tables() -> dict[str, PublishedTable]:
    """Every table, by a name such as "p2sam-1"."""
    text = files("adaptsam.evaluation").joinpath("published.toml").read_text(encoding="utf-8")
    return {
        name: PublishedTable(
            table["title"], tuple(table["columns"]), {row: tuple(values) for row, values in table["rows"].items()}
        )
        for name, table in tomllib.loads(text, parse_float=str).items()
    }
