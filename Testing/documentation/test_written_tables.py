"""README's tables are those of docs/figures.toml, and README's two commands are where the checks look for them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
README = (TOP / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location(
        "write_tables", TOP / "Testing" / "tools" / "docs" / "write_tables.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_table_is_out_of_date(tables):
    assert not tables.outdated(), "run: python Testing/tools/docs/write_tables.py"


def test_a_changed_figure_makes_the_page_out_of_date(tables):
    text = "<!-- table: demo -->\nsomething old\n<!-- /table -->\n"
    facts = {"demo": {"minutes": "a minute", "tumour": "0.9", "tumour_rigid": "0.1"}}
    assert "0.9" in tables.written(text, facts)


def test_the_best_of_each_column_is_bold(tables):
    rows = [{"method": "a", "dice": [0.1, 0.9]}, {"method": "b", "dice": [0.2, 0.8]}]
    facts = {"rows": rows, "columns": ["x", "y"], "scan": "s", "change": "c", "better": "x", "worse": "y"}
    table = tables.followup({"followup": facts})
    assert "| a | 0.100 | **0.900** |" in table
    assert "| b | **0.200** | 0.800 |" in table


@pytest.mark.parametrize("name", ["demo", "tests"])
def test_readme_marks_its_command(name):
    block = re.search(rf"<!-- ci: {name} -->\n```sh\n(.+)\n```", README)
    assert block, f"README.md lost the command marked 'ci: {name}'"
    assert block[1].startswith("python3 -m venv .venv && ")


def test_readme_is_a_screen_and_a_half():
    assert len(README.splitlines()) <= 130
