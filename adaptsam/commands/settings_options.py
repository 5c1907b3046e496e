"""Options of the command line that become the settings of a propagation."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from adaptsam.errors import InputError
from adaptsam.nested_settings import change, parse


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """The options that people change; ``--set`` reaches all others."""
    group = parser.add_argument_group("settings")
    group.add_argument(
        "--pairing", metavar="HOW", help="registered (default), position, or middle (the papers' protocol)"
    )
    group.add_argument(
        "--registration", "--register", dest="register", metavar="HOW", help="deformable (default), rigid, or off"
    )
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
    add_method_options(group, "margin_mm=8")


def add_method_options(group: argparse._ArgumentGroup, example: str) -> None:
    """The options of P²SAM itself, and ``--set`` with an example of its own."""
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
        help=f"any other setting, for example --set {example}; a wrong name lists those that are known",
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
