"""``adaptsam completion``: what a shell needs to complete commands, options and files with the Tab key."""

from __future__ import annotations

import argparse

from adaptsam.errors import InputError

DESCRIPTION = """\
Print what a shell needs to complete adaptsam's commands, options and files with the Tab key.

  adaptsam completion bash >> ~/.bashrc

  adaptsam completion zsh >> ~/.zshrc
  adaptsam completion fish > ~/.config/fish/completions/adaptsam.fish

Then open a new shell.
"""
SHELLS = ("bash", "zsh", "fish", "tcsh")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("completion", help="complete commands with the Tab key", description=DESCRIPTION)
    parser.add_argument("shell", choices=SHELLS, help=", ".join(SHELLS))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    print(script(args.shell))


def script(shell: str) -> str:
    """The script for one of :data:`SHELLS`.

    Raises:
        InputError: the library that writes it is missing.
    """
    try:
        import shtab
    except ImportError:
        raise InputError("Completion needs shtab; run: pip install shtab") from None
    from adaptsam.cli import build_parser

    parser = build_parser()
    for one in _all_of(parser):
        for action in one._actions:
            if action.dest != "help" and action.nargs != 0 and action.choices is None:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    text: str = shtab.complete(parser, shell=shell)
    if shell == "zsh":
        text += "\ncompdef _shtab_adaptsam adaptsam\n"
    return text


def _all_of(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    children = [
        child
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for child in dict.fromkeys(action.choices.values())
    ]
    return [parser, *(one for child in children for one in _all_of(child))]
