"""A run in Slicer needs what its requirements name, and no more: Slicer's users install little."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: What training, words, reports, videos and RTSTRUCT need, and a run does not.
NOT_NEEDED = ("monai", "matplotlib", "contourpy", "av", "highdicom", "torchrl", "ignite", "peft", "timm", "open_clip")

PROGRAM = f"""
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {NOT_NEEDED}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Gone())
import adaptsam.worker.server, adaptsam.worker.worker_session
"""


def test_the_worker_starts_without_what_a_run_does_not_need() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
