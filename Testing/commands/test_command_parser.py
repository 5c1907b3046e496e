"""The help of every command: one example first, options in groups, no wider than the terminal."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from adaptsam import cli
from adaptsam.commands.command_parser import CommandParser, parted, section


def every_parser(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from every_parser(child)


PARSERS = list(every_parser(cli.build_parser()))


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_no_line_is_wider_than_the_terminal(parser, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert [line for line in parser.format_help().splitlines() if len(line) > width] == []


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_an_example_of_its_own_comes_before_the_usage(parser):
    before = parser.format_help().split("usage:")[0]
    assert f"\n  {parser.prog}" in before, f"{parser.prog} begins without an example"


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_many_options_stand_in_groups(parser):
    options = [action for action in parser._actions if action.option_strings]
    ungrouped = [action.option_strings[-1] for action in parser._optionals._group_actions]
    assert len(options) < 9 or ungrouped == ["--help"]


@pytest.mark.parametrize("recipe", ["kvasir_lora", "kvasir_full", "nsclc_lora", "nsclc_full"])
def test_each_recipe_begins_with_its_own_example(recipe, capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", recipe, "--help"])
    assert f"  adaptsam train {recipe} " in capsys.readouterr().out.split("usage:")[0]


def test_options_are_in_groups_and_a_group_is_made_once():
    parser = CommandParser(prog="x")
    section(parser, "output").add_argument("--a")
    section(parser, "output").add_argument("--b")
    assert parser.format_help().count("output:") == 1


def test_the_usage_names_only_what_must_be_given():
    parser = CommandParser(prog="x")
    parser.add_argument("path", nargs="?")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--seed")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--one")
    which.add_argument("--two", action="store_true")
    assert parser.format_usage() == "usage: x [path] --output DIR (--one ONE | --two) [options]\n"


def test_a_description_is_parted_after_its_first_example():
    assert parted("What.\n\n  x 1\n\n  x 2\n\nMore.") == ("What.\n\n  x 1", "  x 2\n\nMore.")


@pytest.mark.parametrize("width", [60, 120])
def test_first_steps_fit_the_terminal(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    cli.main([])
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= width


def test_no_command_tells_what_to_do_first(capsys):
    assert cli.main([]) == 0
    said = capsys.readouterr().out
    assert said.index("adaptsam demo --output demo") < said.index("adaptsam propagate") < said.index("adaptsam --help")
