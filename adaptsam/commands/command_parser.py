"""Help of every command: one example first, options in groups, all laid out for the terminal."""

from __future__ import annotations

import argparse
from collections.abc import Generator, Iterable
from typing import Any

from adaptsam.commands.help_layout import broken_command, is_example, laid_out


class CommandParser(argparse.ArgumentParser):
    """A parser whose help begins with what the command does and one example, and ends with the other examples.

    A description is as :func:`adaptsam.commands.help_layout.laid_out` takes it. What comes up to the first example
    stands above the usage, the rest below the options.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("formatter_class", CommandHelp)
        super().__init__(*args, **options)

    def format_help(self) -> str:
        formatter = self._get_formatter()
        lead, rest = parted(self.description or "")
        formatter.add_text(lead)
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        for group in sorted(self._action_groups, key=lambda group: group is self._optionals):
            formatter.start_section(group.title)
            formatter.add_text(group.description)
            formatter.add_arguments(group._group_actions)
            formatter.end_section()
        formatter.add_text(rest)
        formatter.add_text(self.epilog)
        return formatter.format_help()


class CommandHelp(argparse.RawDescriptionHelpFormatter):
    """Prose and examples laid out for the terminal, a usage of what must be given, subcommands in a column."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return laid_out(text, width)

    def _format_usage(
        self, usage: str | None, actions: Iterable[argparse.Action], groups: Iterable[Any], prefix: str | None
    ) -> str:
        if usage is None:
            usage = f"{self._prog} {' '.join(_needed(list(actions), list(groups)))}".rstrip()
        start = "usage: " if prefix is None else prefix
        return broken_command(f"{start}{usage}", self._width, " " * len(start), end="") + "\n\n"

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            return "".join(self._format_action(one) for one in self._iter_indented_subactions(action))
        return super()._format_action(action)

    def _iter_indented_subactions(self, action: argparse.Action) -> Generator[argparse.Action, None, None]:
        # Their title stands above them already, so that they need no further indent.
        yield from action._get_subactions() if isinstance(action, argparse._SubParsersAction) else ()


def section(parser: argparse.ArgumentParser, title: str) -> argparse._ArgumentGroup:
    """The parser's group of options with that title; made where it is not there yet."""
    known = (group for group in parser._action_groups if group.title == title)
    return next(known, None) or parser.add_argument_group(title)


def parted(description: str) -> tuple[str, str]:
    """A description up to its first example, and the rest."""
    blocks = description.strip("\n").split("\n\n")
    end = next((number for number, block in enumerate(blocks, start=1) if is_example(block)), len(blocks))
    return "\n\n".join(blocks[:end]), "\n\n".join(blocks[end:])


def _needed(actions: list[argparse.Action], groups: list[Any]) -> list[str]:
    """Required options, in their order; then whether there is more."""
    together = {id(action): group for group in groups for action in group._group_actions}
    words: list[str] = []
    optional = False
    for action in actions:
        group = together.get(id(action))
        if group is not None and group.required:
            if action is group._group_actions[0]:
                words.append(f"({' | '.join(_word(one) for one in group._group_actions)})")
        elif not action.option_strings or action.required:
            words.append(_word(action))
        else:
            optional = optional or action.dest != "help"
    return [*words, "[options]"] if optional else words


def _word(action: argparse.Action) -> str:
    if not action.option_strings:
        name = str(action.metavar or action.dest)
        endings = {"?": f"[{name}]", "*": f"[{name} …]", "+": f"{name} [{name} …]"}
        return endings.get(str(action.nargs), name)
    return (
        action.option_strings[-1]
        if action.nargs == 0
        else f"{action.option_strings[-1]} {action.metavar or action.dest.upper()}"
    )
