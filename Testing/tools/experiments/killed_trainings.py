"""Kill trainings at random moments, and look at the best model that each leaves.

python Testing/tools/experiments/killed_trainings.py --times 10 -- dataset_dir=… checkpoint=… epochs=…
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from adaptsam.sam import load_sam


def killed(recipe: str, words: list[str], folder: Path, rng: random.Random, longest: float) -> dict[str, object]:
    """One training, killed some time after its first validation."""
    command = [sys.executable, "-m", "adaptsam.cli", "train", recipe, *words, f"output_dir={folder}"]
    with (
        (folder.parent / f"{folder.name}.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        best = folder / "best.safetensors"
        while not best.is_file() and process.poll() is None:
            time.sleep(0.5)
        waited = rng.uniform(0, longest)
        time.sleep(waited)
        process.send_signal(signal.SIGKILL)
    usable = load_sam(best, "cpu").kind if best.is_file() else None
    parts = sorted(path.name for path in folder.glob(".*.part"))
    return {"seconds after": round(waited, 2), "exit": process.returncode, "best": usable, "half-written": parts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--recipe", default="kvasir_lora")
    parser.add_argument("--longest", type=float, default=8.0, help="seconds after the first validation")
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(args.times):
            print(
                json.dumps(killed(args.recipe, args.words, Path(scratch) / str(number), rng, args.longest)), flush=True
            )


if __name__ == "__main__":
    main()
