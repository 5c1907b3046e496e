"""Readers that do what none may, so that finding nothing elsewhere means something; prints what each did."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from faults import sandbox

from adaptsam.errors import InputError


def _raise(message: str) -> None:
    raise InputError(message)


def _noise() -> None:
    os.write(2, b"a library says this\n")
    _raise("It is damaged; copy it again.")


HARMS: dict[str, Callable[[Path], object]] = {
    "traceback": lambda case: 1 / 0,
    "crash": lambda case: os._exit(3),
    "escaped by starting a program": lambda case: subprocess.run(["true"], check=True),
    "escaped by reading": lambda case: (case.parent / "canary" / "secret.raw").read_bytes(),
    "escaped by writing": lambda case: (case.parent / "more").write_text("x"),
    "memory": lambda case: bytearray(b"x") * (300 * 2**20),
    "identity": lambda case: print("Sekretova"),
    "control characters": lambda case: print("\x1b[2J"),
    "not one sentence": lambda case: _noise(),
    "not refused": lambda case: None,
    "hang": lambda case: time.sleep(60),
    "refused": lambda case: _raise("It is damaged; copy it again."),
}


def main() -> None:
    sandbox.MOST_SECONDS, sandbox.MOST_MB = 3, 300
    for name, harm in HARMS.items():
        reader = sandbox.Reader(
            name,
            lambda seeds: None,
            lambda seeds, rng, case: "refuse it",
            lambda case, seeds, harm=harm: harm(case),  # type: ignore[misc]
        )
        [outcome] = sandbox.examine(reader, [0])
        print(f"{name}: {outcome.kind}")


if __name__ == "__main__":
    main()
