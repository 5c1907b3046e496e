"""Nested settings, changed by dotted names: ``acceptance=off``, ``acceptance.near_mm=8``.

A thing that can be switched has two fields, its choice and the group of its numbers. A settings class that declares
``WORDS``, from the thing's word to the names of both, lets one word reach either.
"""

from __future__ import annotations

import ast
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

from adaptsam.errors import InputError

TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def word_of(settings: Any, field: str) -> str:
    """The word by which a user reaches a field: that of its thing where there is one, or else its name."""
    words = getattr(settings, "WORDS", {})
    return next((word for word, pair in words.items() if field in pair), field)


def parse(text: str) -> object:
    """A Python literal ("8", "1,4", "None"), or the word itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def change(settings: Any, name: str, value: object) -> Any:
    """The same settings with one changed, which a dotted ``name`` finds in nested dataclasses.

    Raises:
        InputError: there is no such setting, or it is of another type.
    """
    first, dot, rest = name.partition(".")
    if first in (words := getattr(settings, "WORDS", {})):
        first = words[first][bool(dot)]
    known = {field.name for field in fields(settings)}
    if first not in known:
        near = get_close_matches(first, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(f"There is no setting {first!r}; known are {', '.join(sorted(known))}.{hint}")
    current = getattr(settings, first)
    if value is None and not dot and _may_be_none(settings, first):
        return replace(settings, **{first: None})
    if is_dataclass(current):
        if not dot:
            inner = ", ".join(f"{first}.{field.name}" for field in fields(current))
            raise InputError(f"{first} is a group of settings; choose one of {inner}.")
        return replace(settings, **{first: change(current, rest, value)})
    if dot:
        raise InputError(f"{first} is one setting and has no {rest!r} in it.")
    return replace(settings, **{first: _as_type_of(first, current, value)})


def _may_be_none(settings: Any, name: str) -> bool:
    return type(None) in get_args(get_type_hints(type(settings))[name])


def _as_type_of(name: str, current: object, value: object) -> object:
    """The value, where it is of the kind that the setting has; 8 may stand for 8.0 and "off" for False."""
    if isinstance(current, bool) and isinstance(value, str):
        value = TRUTHS.get(value.lower(), value)
    if isinstance(current, bool) != isinstance(value, bool) and isinstance(current, bool | int | float):
        raise InputError(f"{name} is {'yes or no' if isinstance(current, bool) else 'a number'}, not {value!r}.")
    if isinstance(current, float) and isinstance(value, int):
        return float(value)
    if isinstance(current, int | float) and not isinstance(value, int | float):
        raise InputError(f"{name} is a number, not {value!r}.")
    if isinstance(current, int) and not isinstance(current, bool) and isinstance(value, float):
        raise InputError(f"{name} is a whole number, not {value!r}.")
    return value
