"""Collect the sentences that the worker can say to a person, as the table that Slicer's translators work on.

    python Testing/tools/slicer/collect_sentences.py

Writes PersonalizedSAM/AdaptSAMLib/sentences.py: every sentence of the modules that the worker imports, also late, with
``{names}`` where the code puts values. A test holds the table to the code.
"""

from __future__ import annotations

import ast
import json
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / "PersonalizedSAM" / "AdaptSAMLib" / "sentences.py"
BEGIN, END = "    return [\n", "    ]\n"

#: Where the worker begins, and the client that speaks for one that has gone.
ROOTS = (
    "adaptsam.worker.worker_session",
    "adaptsam.worker.server",
    "adaptsam.worker.client",
    "adaptsam.worker.structure_sets",
    "adaptsam.autoprompting.agent_training",
)

#: Keys of messages whose short texts a window shows.
SHOWN = ("label", "card")

#: What is said to programmers and at a terminal alone.
SILENT = ("adaptsam.commands", "adaptsam.cli", "adaptsam.synthetic")


def files() -> list[Path]:
    """The files of the package that the worker imports, at once or later, whatever this process has imported."""
    found: dict[str, Path] = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        path = None if name in found or name.startswith(SILENT) else source(name)
        if path is not None:
            found[name] = path
            waiting.extend((*imported(name, path), name.rpartition(".")[0]))
    return sorted(found.values())


def source(name: str) -> Path | None:
    """The file of a module of the package, or None for what is none."""
    if name.partition(".")[0] != "adaptsam":
        return None
    base = ROOT.joinpath(*name.split("."))
    return next((one for one in (base / "__init__.py", base.with_suffix(".py")) if one.is_file()), None)


def imported(name: str, path: Path) -> Iterator[str]:
    """The modules, and what may be modules, that a module's imports name, also those within functions."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (base, *(f"{base}.{one.name}" for one in node.names))


def collected() -> list[str]:
    """Every sentence, once, in order."""
    codes = [path.read_text(encoding="utf-8") for path in files()]
    found = {text for code in codes for text in (*sentences_of(code), *labels_of(code))}
    return sorted(found | purposes())


def purposes() -> set[str]:
    """What the catalogue of weights says that each is for."""
    catalogue = tomllib.loads((ROOT / "adaptsam" / "sam" / "weights.toml").read_text(encoding="utf-8"))
    return {one["purpose"] for one in catalogue.values()}


def labels_of(code: str) -> Iterator[str]:
    """Short texts that a window shows: of models, devices and samples."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            yield from (
                template(value)
                for key, value in pairs
                if isinstance(key, ast.Constant) and key.value in SHOWN and is_text(value)
            )
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SampleImage" and is_text(node.args[0]):
            yield template(node.args[0])


def sentences_of(code: str) -> Iterator[str]:
    """The sentences of a file: texts that begin with a capital or a value, end with a full stop or one, and are no docstrings."""
    for parent in ast.walk(ast.parse(code)):
        for node in ast.iter_child_nodes(parent):
            if isinstance(parent, ast.Expr | ast.JoinedStr | ast.FormattedValue) or not is_text(node):
                continue
            text = template(node)
            said = literal(text)
            long_enough = len(said) > (12 if text.endswith(".") else 25)
            if (
                text.endswith((".", "}"))
                and " " in said.strip()
                and long_enough
                and (text[0] == "{" or text[0].isupper())
            ):
                yield text


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def template(node: ast.AST) -> str:
    """A text as str.format takes it, with a name for each value."""
    if isinstance(node, ast.Constant):
        return str(node.value).replace("{", "{{").replace("}", "}}")
    assert isinstance(node, ast.JoinedStr)
    parts, used = [], set()
    for one in node.values:
        if isinstance(one, ast.Constant):
            parts.append(template(one))
        elif isinstance(one, ast.FormattedValue):
            name = base = called(one.value)
            number = 1
            while name in used:
                number += 1
                name = f"{base}{number}"
            used.add(name)
            parts.append("{" + name + "}")
    return "".join(parts)


def called(node: ast.expr) -> str:
    """A name for what an expression gives: the last one in it."""
    parts = [one for one in ast.walk(node) if isinstance(one, ast.Attribute | ast.Name)]
    names = [one.attr if isinstance(one, ast.Attribute) else one.id for one in parts]
    return next((one.strip("_").lower() for one in names if one.strip("_").isidentifier()), "value")


def literal(text: str) -> str:
    """What of a template is not a value."""
    return "".join(part for part, *_ in string.Formatter().parse(text))


def main() -> None:
    text = TABLE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    lines = "".join(f"        _({json.dumps(one, ensure_ascii=False)}),\n" for one in collected())
    TABLE.write_text(head + BEGIN + lines + END + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
