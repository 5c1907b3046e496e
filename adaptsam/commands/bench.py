"""``adaptsam bench``: the benchmarks of Testing/tools/benchmarks, as tables."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from adaptsam.commands.benchmark_page import check_page, write_page
from adaptsam.commands.command_parser import section
from adaptsam.commands.console import add_talk_options, print_json, print_table
from adaptsam.errors import InputError

DESCRIPTION = """\
Measure this machine: speed and memory, beside what the arithmetic allows.

  adaptsam bench --quick           a few minutes
  adaptsam bench --only encoder    one benchmark
  adaptsam bench --json            for programs
  adaptsam bench --output benchmarks.md
                                   also as Markdown; in a file that is there, only the tables change
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "bench",
        help="speed and memory on this machine",
        description=DESCRIPTION,
    )
    parser.add_argument("--quick", action="store_true", help="one repeat instead of a median of five")
    parser.add_argument("--repeats", type=int, default=5, help="how often each side is timed; default: 5")
    parser.add_argument("--only", metavar="NAME", help="one benchmark, by its name")
    section(parser, "output").add_argument(
        "--output", type=Path, metavar="FILE", help="Markdown to write the tables into"
    )
    add_talk_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    repeats = 1 if args.quick else args.repeats
    if repeats < 1:
        raise InputError(f"A benchmark needs at least one repeat, not {repeats}.")
    if args.output is not None:
        check_page(args.output)
    results: dict[str, dict[str, Any]] = {}
    for name, path in _chosen(find_benchmarks(), args.only).items():
        benchmark = load(name, path)
        title = (benchmark.__doc__ or name).strip().splitlines()[0]
        figures = benchmark.run(repeats=repeats)
        results[name] = {"title": title, "figures": figures}
        if not args.json:
            print_table(rows_of(figures, name), title)
            sys.stdout.flush()
        if args.output is not None:
            write_page(args.output, {name: results[name]}, repeats)
    if args.json:
        print_json(results)


def rows_of(figures: Mapping[str, Any], name: str) -> list[dict[str, object]]:
    """A row for each figure; one that has a floor (``{"value": …, "floor": …}``) has it beside it."""
    rows = []
    for figure, told in figures.items():
        bounded = isinstance(told, Mapping)
        rows.append({"": figure, name: told["value"] if bounded else told, "floor": told["floor"] if bounded else ""})
    return rows if any(row["floor"] != "" for row in rows) else [{k: row[k] for k in ("", name)} for row in rows]


def find_benchmarks() -> dict[str, Path]:
    """The benchmark files by name, in an installed wheel or in a source checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_benchmarks", package.parent / "Testing" / "tools" / "benchmarks"):
        files = {path.stem: path for path in sorted(folder.glob("[!_]*.py"))}
        if files:
            return files
    raise InputError("This installation holds no benchmarks; install AdaptSAM again.")


def _chosen(files: dict[str, Path], name: str | None) -> dict[str, Path]:
    if name is None:
        return files
    if name not in files:
        raise InputError(f"There is no benchmark {name!r}; there are: {', '.join(files)}.")
    return {name: files[name]}


def load(name: str, path: Path) -> ModuleType:
    """A benchmark file as a module: its docstring's first line is its title, and ``run(repeats=…)`` gives figures."""
    spec = importlib.util.spec_from_file_location(f"adaptsam_bench_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
