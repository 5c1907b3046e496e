"""Peak memory of carrying a structure through 512×512 slices with SAM ViT-B on the CPU, for few and for more slices.

Each case runs in a process of its own, with random weights and random slices: neither changes what is allocated. Peak
memory must not grow with the number of slices beyond the volumes themselves: a long volume is judged from short ones.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

SLICES = (3, 9)

PROGRAM = """
import json, resource, sys
import numpy as np
from adaptsam.image import Geometry, Structure, StructureSet, Volume
from adaptsam.propagation.volume_propagation import PropagationSettings, propagate
from adaptsam.sam import VIT_B, SamModel, build_sam

count = int(sys.argv[1])
rng = np.random.default_rng(0)
geometry = Geometry((count, 512, 512), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))
prior, target = (Volume(rng.integers(-900, 500, geometry.shape, dtype=np.int16), geometry, "CT") for _ in range(2))
mask = np.zeros(geometry.shape, bool)
mask[:, 200:300, 200:300] = True
settings = PropagationSettings(
    view="full", register="off", pairing="position", acceptance="off", location_prior=False, cleanup=False
)
model = SamModel.from_sam(build_sam(VIT_B), VIT_B, device="cpu")
[result] = propagate(prior, StructureSet((Structure("box", mask),), geometry), [target], model=model, settings=settings)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"peak": peak, "encoded": result.encoded}))
"""


def run(repeats: int = 1, slices: tuple[int, ...] = SLICES) -> dict[str, str]:
    """Peak memory for each number of slices, and what a volume of 120 would need. One repeat is as good as many."""
    rows: dict[str, str] = {}
    peaks = []
    for count in slices:
        made = subprocess.run([sys.executable, "-c", PROGRAM, str(count)], check=True, capture_output=True, text=True)
        figures = json.loads(made.stdout)
        peaks.append(figures["peak"])
        rows[f"peak, {count} slices"] = f"{figures['peak']:.2f} GiB ({figures['encoded']} images encoded)"
    slope = (peaks[-1] - peaks[0]) / (slices[-1] - slices[0])
    rows["growth"] = f"{1024 * slope:.1f} MiB a slice"
    rows["120 slices, extrapolated"] = f"{peaks[-1] + slope * (120 - slices[-1]):.2f} GiB"
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, nargs="+", default=SLICES)
    for name, value in run(slices=tuple(parser.parse_args().slices)).items():
        print(f"{name:28s} {value}")


if __name__ == "__main__":
    main()
