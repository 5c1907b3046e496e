"""Trace a command, and give its trip: the modules in the order in which they are entered first, and the rooms.

    python Testing/tools/docs/trip.py -- propagate --prior-image a --prior-mask b --target c --output out
    python Testing/tools/docs/trip.py --package ../earlier      # another checkout

Without a command, a contour of the synthetic patient is carried.

A room is a folder of the package; a module at its top is its own room. Imports are no visits: what counts is the first
call of a function of a module, in whichever thread.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType

TOP = Path(__file__).resolve().parents[3]
#: Flag of the code of functions, which modules and class bodies lack (CO_OPTIMIZED).
FUNCTION = 1


class Trip:
    """Modules of a package in the order of their first call, while it is set as a profile function."""

    def __init__(self, package: Path) -> None:
        self._package = f"{package}/"
        self._known: set[CodeType] = set()
        self.modules: dict[str, None] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or code in self._known:
            return
        self._known.add(code)
        inside = code.co_filename.startswith(self._package) and code.co_filename.endswith(".py")
        if inside and code.co_flags & FUNCTION:
            name = code.co_filename.removeprefix(self._package).removesuffix(".py")
            self.modules.setdefault(name.removesuffix("/__init__"))

    @property
    def rooms(self) -> list[str]:
        """The room of each module, in the same order."""
        return [name.partition("/")[0] for name in self.modules]

    @property
    def changes(self) -> int:
        """How often the next module stands in another room."""
        return sum(a != b for a, b in pairwise(self.rooms))


def traced(arguments: Sequence[str], package: Path) -> Trip:
    """The trip of a command of the package that ``sys.path`` finds first."""
    main = importlib.import_module("adaptsam.cli").main
    trip = Trip(package)
    threading.setprofile(trip)
    sys.setprofile(trip)
    try:
        main(arguments)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return trip


def phantoms_propagation(folder: Path) -> list[str]:
    """Draw the synthetic patient; the arguments that carry one of its contours to its second visit."""
    patient = folder / "patient"
    importlib.import_module("adaptsam.cli").main(["phantom", "--output", str(patient), "--seed", "7"])
    given = ["--prior-image", f"{patient}/visit-1/ct", "--prior-mask", f"{patient}/visit-1/rtstruct.dcm"]
    place = ["--target", f"{patient}/visit-2/ct", "--output", f"{folder}/result"]
    return ["propagate", *given, *place, "--structure", "Heart", "--no-cache", "--quiet"]


def main() -> None:
    """Print the trip of the command line's command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, default=TOP, help="the checkout; default: this one")
    parser.add_argument("command", nargs="*", help="of adaptsam; default: the propagation of a phantom's heart")
    options = parser.parse_args()
    top = options.package.resolve()
    sys.path.insert(0, str(top))
    with tempfile.TemporaryDirectory() as folder:
        trip = traced(options.command or phantoms_propagation(Path(folder)), top / "adaptsam")
    room = ""
    for name in trip.modules:
        here, _, module = name.partition("/")
        print(f"{here if here != room else '':16}{module or here}")
        room = here
    print(f"{len(trip.modules)} modules, {len(set(trip.rooms))} rooms, {trip.changes} changes of room")


if __name__ == "__main__":
    main()
