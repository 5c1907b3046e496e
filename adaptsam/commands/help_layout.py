"""Layout of help texts for a terminal of any width: prose is filled, examples are broken where a shell allows it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

#: What stands in a command between an option and its value, so that no line ends between them.
_TOGETHER = "\xa0"
_COLUMNS = re.compile(r"\s{2,}")


class Example(NamedTuple):
    """A line of examples: a command or words, and what is said of it."""

    text: str
    comment: str = ""

    @property
    def is_command(self) -> bool:
        return self.text.startswith(("adaptsam", "python "))


def laid_out(text: str, width: int) -> str:
    """The text with no line longer than ``width``, save for single words.

    Args:
        text: paragraphs with blank lines between. One whose lines begin with two blanks has examples: commands, each
            with a remark after two more blanks or on the next line, far to the right; a backslash joins two lines.
        width: in characters.

    Examples that fit stay as they are. Where one does not, its whole paragraph has the remarks below the commands.
    """
    blocks = text.strip("\n").split("\n\n")
    return "\n\n".join(
        _examples(block, width) if is_example(block) else textwrap.fill(block, width) for block in blocks
    )


def is_example(block: str) -> bool:
    return any(line.startswith("  ") for line in block.splitlines())


def broken_command(command: str, width: int, indent: str, end: str = " \\") -> str:
    """A command or a usage on several lines, with options beside their values."""
    if len(command) <= width:
        return command
    bound = re.sub(r"(?<!\S)(--?[\w-]+) (?=[^-\s])|(?<=\|) ", lambda found: (found[1] or "") + _TOGETHER, command)
    lines = textwrap.wrap(
        bound, width - len(end), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return f"{end}\n".join(lines).replace(_TOGETHER, " ")


def _examples(block: str, width: int) -> str:
    if all(len(line) <= width for line in block.splitlines()):
        return block
    return "\n".join(_narrow(example, width) for example in _parsed(block))


def _narrow(example: Example, width: int) -> str:
    if example.is_command:
        command = textwrap.indent(broken_command(example.text, width - 2, "    "), "  ")
        remark = textwrap.fill(example.comment, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
        return f"{command}\n{remark}" if remark else command
    words = ": ".join(part for part in example if part)
    return textwrap.fill(words, width, initial_indent="  ", subsequent_indent="    " if example.comment else "  ")


def _parsed(block: str) -> Iterator[Example]:
    lines = re.sub(r" *\\\n\s*", " ", block).splitlines()
    held: Example | None = None
    for line in lines:
        text, *comments = _COLUMNS.split(line.strip())
        if held and line.startswith(" " * 6):  # goes on with what was said of the one before
            held = Example(held.text, " ".join([held.comment, text, *comments]).strip())
            continue
        if held:
            yield held
        held = Example(text, "; ".join(comments))
    if held:
        yield held
