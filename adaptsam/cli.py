"""The command ``adaptsam``: its options, and the way every error reaches the user.

Exit codes: 0 done; 2 something that was given cannot be used (one sentence on stderr); 130 stopped by Ctrl-C. Outputs
are there whole or not at all.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from shutil import get_terminal_size
from types import FrameType

import adaptsam
from adaptsam.commands import (
    agents,
    autoprompt,
    bench,
    cache,
    completion,
    data,
    demo,
    doctor,
    evaluate,
    followup,
    info,
    phantom,
    propagate,
    track,
    train,
    weights,
)
from adaptsam.commands.command_parser import CommandParser
from adaptsam.commands.console import printable
from adaptsam.commands.help_layout import laid_out
from adaptsam.errors import AdaptSAMError, Cancelled

FIRST_STEPS = """\
AdaptSAM {version} carries the contours of one visit to the next. For research use only.

  adaptsam demo --output demo       begin here: a synthetic patient, from DICOM to a report; needs no data
  adaptsam propagate --prior-image planning_ct --prior-mask rtstruct.dcm --target weekly_ct --output result
                                    then this, on your own scans
  adaptsam weights fetch vit_b      and this, for real images: a larger model, used with --checkpoint vit_b

  adaptsam --help                   all commands
  adaptsam doctor                   is this installation whole, and what will it compute with
"""

DESCRIPTION = """\
Carry the contours of one visit to the next, with the Segment Anything Model.

  adaptsam demo --output demo              try it: a synthetic patient, from DICOM to a report
  adaptsam info planning_ct                what is in a folder or a file
  adaptsam propagate --prior-image planning_ct --prior-mask rtstruct.dcm \\
                     --target weekly_ct --output result
  adaptsam autoprompt --agent heart --target planning_ct --output result
  adaptsam track --video clip.mp4 --prior-frame 3 --prior-mask frame3.png --output result

`adaptsam COMMAND --help` explains a command, with examples.
For research use only: nothing that comes out is approved by a clinician.
"""

COMMANDS = (
    *(demo, propagate, autoprompt, track, info, data, phantom, followup),
    *(agents, train, evaluate, weights, cache, bench, doctor, completion),
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; after parsing, ``args.run`` is the function to call with ``args``."""
    parser = CommandParser(prog="adaptsam", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"adaptsam {adaptsam.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""

    def work() -> None:
        words = sys.argv[1:] if argv is None else argv
        if not words:
            print(laid_out(FIRST_STEPS.format(version=adaptsam.__version__), get_terminal_size().columns))
            return
        args = build_parser().parse_args(_with_negatives(words))
        args.run(args)

    return guarded(work)


def _with_negatives(argv: Sequence[str]) -> list[str]:
    """The arguments as argparse understands them: ``--window -160,240`` becomes one, as -160,240 is no option."""
    joined: list[str] = []
    for argument in argv:
        if joined and re.fullmatch(r"--[a-z][a-z-]*", joined[-1]) and re.fullmatch(r"-[\d.]+(,-?[\d.]+)+", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def guarded(work: Callable[[], object]) -> int:
    """The exit code of some work, whose errors are told in one sentence on stderr."""
    try:
        work()
        sys.stdout.flush()
    except (KeyboardInterrupt, Cancelled) as stop:
        print(f"adaptsam: {str(stop) or 'stopped; nothing half-written is left.'}", file=sys.stderr)
        return 130
    except AdaptSAMError as error:
        print(f"adaptsam: {printable(str(error))}", file=sys.stderr)
        return 2
    except MemoryError:
        print("adaptsam: The memory does not suffice; close other programs, or give a smaller image.", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, for example `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def run() -> None:
    """The entry point of the installed command."""
    signal.signal(signal.SIGTERM, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that knows no "─" still gets its table
    sys.exit(main())


def _stop(number: int, frame: FrameType | None) -> None:
    # A cluster's SIGTERM ends as an exception, so that what was half-written is taken away.
    sys.exit(128 + number)


if __name__ == "__main__":
    run()
