"""Console output of commands: progress bars on stderr, tables or JSON on stdout."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tqdm import tqdm

from adaptsam.commands.command_parser import section

if TYPE_CHECKING:
    from adaptsam.sam import EmbeddingStore, SamModel

BAR = "{desc:<28} {percentage:3.0f} % |{bar}| {elapsed}"


class ProgressBars:
    """A :class:`adaptsam.progress.Progress` that shows one bar a stage, where stderr is a terminal.

    Examples:
        >>> with ProgressBars() as progress:
        ...     progress("Reading", 1, 2)
    """

    def __init__(self, quiet: bool = False) -> None:
        # No bars where nobody looks: in a file or a pipe.
        self._shown = not quiet and sys.stderr.isatty()
        self._stage = ""
        self._bar: tqdm | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        if not self._shown:
            return
        if self._bar is None or stage != self._stage:
            self.close()
            self._stage = stage
            name = stage[:1].upper() + stage[1:]
            self._bar = tqdm(total=total, desc=name, file=sys.stderr, dynamic_ncols=True, bar_format=BAR)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Actions:
    """A command that does several things by their names, as ``adaptsam cache clear``.

    Args:
        commands: where the command is added.
        name: of the command.
        summary: a line for the list of commands.
        description: for its own help.
    """

    def __init__(
        self, commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, description: str
    ) -> None:
        parser = commands.add_parser(name, help=summary, description=description)
        self._actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add(
        self, name: str, run: Callable[[argparse.Namespace], None], summary: str, example: str, description: str = ""
    ) -> argparse.ArgumentParser:
        """The parser of one action, which has the options of all that talk; ``run`` is called with its arguments.

        Its help is the ``description``, or else the summary and the example.
        """
        short = f"{summary[:1].upper()}{summary[1:]}.\n\n  {example}"
        parser = self._actions.add_parser(name, help=summary, description=description or short)
        add_talk_options(parser)
        parser.set_defaults(run=run)
        return parser


def add_output_options(parser: argparse.ArgumentParser, what: str) -> None:
    """The options that every command with an output folder has."""
    output = section(parser, "output")
    output.add_argument("--output", required=True, type=Path, metavar="DIR", help=f"folder for {what}; made if missing")
    output.add_argument("--overwrite", action="store_true", help="replace files of the same names in the output folder")
    add_talk_options(parser)


def add_talk_options(parser: argparse.ArgumentParser) -> None:
    talk = section(parser, "terminal")
    talk.add_argument("--json", action="store_true", help="print one JSON object on stdout, for programs")
    talk.add_argument("--quiet", action="store_true", help="no progress bars")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    model = section(parser, "model")
    model.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="a SAM checkpoint (Meta's, MobileSAM's, MedSAM's, P²SAM's authors' or our .safetensors), or a name from "
        "'adaptsam weights list'; default: lite, the bundled model",
    )
    model.add_argument(
        "--checkpoint-kind",
        metavar="KIND",
        help="what the file is where its contents cannot tell: medsam for MedSAM's weights in a file of your own",
    )
    model.add_argument(
        "--reapply-lora",
        action="store_true",
        help="apply the LoRA adapters in the file once more, as the published code of P²SAM does",
    )
    model.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, …; default: auto")
    model.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "float32", "bfloat16", "int8"),
        help="of the image encoder: auto is bfloat16 on a GPU, and for large models on a processor that is fast at it, "
        "else float32; int8 is faster on the CPU, single masks can differ, and needs the extra int8; default: auto",
    )


def load_model(args: argparse.Namespace) -> SamModel:
    """The model that the options of :func:`add_model_options` ask for."""
    from adaptsam.sam import load_sam

    return load_sam(
        args.checkpoint,
        args.device,
        kind=args.checkpoint_kind,
        reapply_lora=args.reapply_lora,
        precision=args.precision,
    )


def add_format_option(parser: argparse.ArgumentParser) -> None:
    section(parser, "output").add_argument(
        "--format",
        metavar="LIST",
        help="rtstruct, dicom-seg, seg.nrrd, nrrd, nifti, separated by commas; "
        "default: seg.nrrd, and rtstruct for DICOM targets",
    )


def add_cache_option(parser: argparse.ArgumentParser) -> None:
    section(parser, "output").add_argument(
        "--no-cache", action="store_true", help="keep nothing for the next run on these images ('adaptsam cache')"
    )


def kept_store(
    model: SamModel, args: argparse.Namespace, held: int | None = None, images: int = 0
) -> EmbeddingStore | None:
    """The store that outlives the run, as :func:`adaptsam.sam.lasting_store`; None where the user wants none."""
    from adaptsam.sam import lasting_store

    return None if args.no_cache else lasting_store(model, held, images)


def printable(text: str) -> str:
    """One line of text, whatever it says: names from files must not play with the terminal, nor fill it."""
    text = re.sub(r"\S{300,}", lambda word: f"{word[0][:120]}…{word[0][-60:]}", text)
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def print_json(value: object) -> None:
    """One JSON object on stdout; what is not a number becomes null."""
    print(json_text(value))


def json_text(value: object) -> str:
    return json.dumps(_plain(value), indent=2)


def print_table(rows: Sequence[Mapping[str, object]], title: str = "") -> None:
    """Rows with the same keys as an aligned table on stdout; figures to the right, words to the left."""
    if title:
        print(f"\n{title}")
    if not rows:
        print("(nothing)")
        return
    columns = list(rows[0])
    texts = [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[c]) for line in texts)) for c, column in enumerate(columns)]
    right = [all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns]
    print("  ".join(_pad(column, widths[c], right[c]) for c, column in enumerate(columns)).rstrip())
    print("  ".join("─" * width for width in widths))
    for line in texts:
        print("  ".join(_pad(text, widths[c], right[c]) for c, text in enumerate(line)).rstrip())


def _pad(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, float):
        if 0 < abs(value) < 0.001:
            return f"{value:.1e}"
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return printable(str(value))


def _plain(value: object) -> object:
    """Values as JSON knows them."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)
