"""Some of the thousands of files of Testing/tools/experiments/fuzz.py, for every reader, in bounded processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from faults.harms import HARMS

TESTING = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux's /proc")


def run(*words: str | Path) -> str:
    places = os.pathsep.join((str(TESTING.parent), str(TESTING)))
    environment = {**os.environ, "PYTHONPATH": places}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# About 8 s: the imports of every reader, and their good files.
def test_no_damaged_or_hostile_file_does_harm_and_each_refusal_is_one_sentence() -> None:
    told = re.findall(
        r"^(\w+) +6 files: .* 0 findings", run(TESTING / "tools" / "experiments" / "fuzz.py", "--cases", "6"), re.M
    )
    assert len(told) == len(set(told)) == 17


def test_the_sandbox_finds_every_harm_that_it_looks_for() -> None:
    lines = [line.split(": ") for line in run("-m", "faults.harms").splitlines()]
    assert [done for done, _ in lines] == list(HARMS)
    assert all(done.startswith(found) for done, found in lines)
