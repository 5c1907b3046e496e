"""Collect the sentences that the worker can say to a person, as the table that Slicer's translators work on.

    python Testing/tools/slicer/collect_sentences.py

Writes PersonalizedSAM/AdaptSAMLib/sentences.py: every sentence of the modules that the worker imports, with ``{names}`` where
the code puts values. A test holds the table to the code.
"""

from __future__ import annotations

import ast
import importlib
import json
import string
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / "PersonalizedSAM" / "AdaptSAMLib" / "sentences.py"
BEGIN, END = "    return [\n", "    ]\n"

#: Where the worker begins, and what it imports when it is asked to.
ROOTS = (
    "adaptsam.worker.worker_session",
    "adaptsam.worker.server",
    "adaptsam.worker.client",
    "adaptsam.worker.structure_sets",
    "adaptsam.autoprompting.agent_training",
)

#: What is said to programmers and at a terminal alone.
SILENT = ("adaptsam.commands", "adaptsam.cli", "adaptsam.synthetic", "adaptsam.pretrain")


def files() -> list[Path]:
    """The files of the package that the worker imports."""
    for name in ROOTS:
        importlib.import_module(name)
    names = [one for one in sys.modules if one.startswith("adaptsam.") and not one.startswith(SILENT)]
    found = {getattr(sys.modules[one], "__file__", None) for one in names}
    return sorted(Path(one) for one in found if one)


def collected() -> list[str]:
    """Every sentence, once, in order."""
    return sorted({text for path in files() for text in sentences_of(path.read_text(encoding="utf-8"))})


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
    sys.path.insert(0, str(ROOT))
    main()
