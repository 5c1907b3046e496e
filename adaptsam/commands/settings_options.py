"""From options of the command line to the settings of a propagation."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

from adaptsam.errors import InputError

TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """The options that people change; ``--set`` reaches all others."""
    group = parser.add_argument_group("settings")
    group.add_argument(
        "--pairing", metavar="HOW", help="registered (default), position, or middle (the papers' protocol)"
    )
    group.add_argument("--register", metavar="HOW", help="deformable (default), rigid, or off")
    group.add_argument(
        "--fusion", metavar="HOW", help="calibrated (default): weigh contour, method and appearance; off: method alone"
    )
    group.add_argument("--no-location-prior", action="store_true", help="look everywhere, not near the carried contour")
    group.add_argument("--view", metavar="VIEW", help="what the model is shown: auto (default), full, body, magnified")
    group.add_argument(
        "--window",
        metavar="NAME",
        help="auto (default), anatomy, lung, 'soft tissue', …, or LOW,HIGH, as -160,240 in HU",
    )
    add_method_options(group)


def add_method_options(group: argparse._ArgumentGroup) -> None:
    """The options of P²SAM itself, and ``--set``."""
    group.add_argument("--parts", type=int, metavar="N", help="try 1 to N parts of the prior; default: 4")
    group.add_argument(
        "--retrieval",
        metavar="HOW",
        help="how the number of parts is chosen: wasserstein (default), jensen-shannon, hungarian, or off (always N)",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other setting, for example --set margin_mm=8; a wrong name lists those that are known",
    )


def settings_from(args: argparse.Namespace, defaults: Any = None) -> Any:
    """The settings that the options ask for, of the kind of ``defaults``; PropagationSettings without them.

    Raises:
        InputError: an option has a value that means nothing, or a setting of that name does not exist.
    """
    from adaptsam.propagation.volume_propagation import PropagationSettings

    settings = PropagationSettings() if defaults is None else defaults
    for name, value in _chosen(args):
        settings = change(settings, name, value)
    return settings


def _chosen(args: argparse.Namespace) -> Iterator[tuple[str, object]]:
    given = vars(args)
    for name in ("pairing", "register", "fusion", "view", "domain"):
        if given.get(name):
            yield ("p2sam.domain" if name == "domain" else name), given[name]
    if given.get("no_location_prior"):
        yield "location_prior", False
    if given.get("window"):
        yield "window", parse(args.window)
    if given.get("reanchor"):
        yield "reanchor", True
    if args.parts is not None:
        yield "p2sam.positives", (1, args.parts)
    if args.retrieval == "off":
        yield "p2sam.retrieval", False
    elif args.retrieval:
        yield "p2sam.distance", args.retrieval
    for assignment in args.set:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set needs NAME=VALUE, not {assignment!r}.")
        yield name.strip(), parse(text.strip())


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
