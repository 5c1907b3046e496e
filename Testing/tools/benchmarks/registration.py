"""Registration of two scans: processor time, and how far points of the body come to lie from where they belong.

    python Testing/tools/benchmarks/registration.py --image CT_FOLDER --repeats 20 --full 3

The second scan is a digital follow-up of the first: moved by a known shift of up to 80 mm and a known rotation of up to
10°, and scanned again with another noise (rigid); then with breathing, weight and a random deformation as well
(deformable). Beside the registration as it is stands the same one at the scan's full resolution, from the same start.
Without an image, a phantom of 512×512×134 voxels is used.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple, TypeVar

import numpy as np
import SimpleITK as sitk

from adaptsam.image import Volume
from adaptsam.image.downsampling import block_means, body_mask, coarse_blocks, coarse_geometry
from adaptsam.io import read_volume
from adaptsam.progress import silent
from adaptsam.registration import Deformation, RegistrationSettings, register, register_deformably
from adaptsam.registration.rigid import Rigid
from adaptsam.synthetic.digital_followup import FollowUpSettings, Motion, settings_for
from adaptsam.synthetic.digital_followup.patient_motion import draw_motion
from adaptsam.synthetic.digital_followup.rescan import scan, scan_grid
from adaptsam.synthetic.thorax_phantom import phantom_visits

Found = TypeVar("Found", Rigid, Rigid | Deformation)
SHAPE, SPACING = (134, 512, 512), (0.98, 0.98, 3.0)
#: As many points as at 5 mm, from voxels that are as small as they were scanned.
FULL = RegistrationSettings(pitch_mm=1.0, sampling=0.01)


class Pair(NamedTuple):
    """A scan, a later one of the same patient, and what is known of it: points of the body, (n, 3) LPS mm, in both."""

    prior: Volume
    target: Volume
    points: np.ndarray
    truth: np.ndarray

    def errors(self, found: Rigid | Deformation) -> np.ndarray:
        """Millimetres, (n,)."""
        return np.linalg.norm(found.to_prior(self.points) - self.truth, axis=1)


def run(
    repeats: int = 5, image: Path | None = None, full: int = 1, shape: tuple[int, int, int] = SHAPE
) -> dict[str, Any]:
    """Register ``repeats`` follow-ups rigidly, ``full`` of them at full resolution too, and one deformably.

    Returns:
        Seconds, and errors in mm over the body, by name.
    """
    if image is None:
        extent = np.array(SPACING) * SHAPE[::-1]
        spacing = tuple(float(s) for s in extent / np.array(shape[::-1]))
        [visit] = phantom_visits(7, 1, shape=shape, spacing=spacing)  # type: ignore[arg-type]
        prior = visit.volume
    else:
        prior = read_volume(image)
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    figures: dict[str, Any] = {"voxels": "×".join(map(str, prior.geometry.shape[::-1])), "threads": threads}
    # In a phantom's even tissue nothing tells where a point belongs once tissue deforms.
    return figures | _rigid_figures(prior, repeats, full) | _deformable_figures(prior, judged=image is not None)


def _rigid_figures(prior: Volume, repeats: int, full: int) -> dict[str, Any]:
    clock, work, errors = [], [], []
    finer: list[tuple[float, np.ndarray, np.ndarray]] = []
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        still = FollowUpSettings(
            *("same", 1.0),
            shift_mm=rng.uniform(0, 80),
            rotation_deg=rng.uniform(0, 10),
            breathing_mm=0.0,
            weight_mm=0.0,
            deformation_mm=0.0,
            pixel_ratio=1.0,
        )
        pair = followup(prior, still, seed)
        found, (seconds, busy) = _timed(lambda pair=pair: register(pair.prior, pair.target))  # type: ignore[misc]
        clock.append(seconds)
        work.append(busy)
        errors.append(pair.errors(found))
        if seed < full:
            fine, (_, busy) = _timed(lambda pair=pair: register(pair.prior, pair.target, FULL))  # type: ignore[misc]
            apart = np.linalg.norm(found.to_prior(pair.points) - fine.to_prior(pair.points), axis=1)
            finer.append((busy, pair.errors(fine), apart))
    figures = {
        "rigid [s]": median(clock),
        "rigid, allowed [s]": 8.0,
        "rigid, CPU [s]": median(work),
        "rigid, CPU, most [s]": max(work),
        "rigid, motions": repeats,
        "rigid, error, mean [mm]": mean(float(one.mean()) for one in errors),
        "rigid, error, mean of the worst motion [mm]": max(float(one.mean()) for one in errors),
        "rigid, error, largest at any point [mm]": max(float(one.max()) for one in errors),
    }
    if finer:
        figures |= {
            "full resolution, motions": len(finer),
            "full resolution, CPU [s]": median(one[0] for one in finer),
            "full resolution, error, mean [mm]": mean(float(one[1].mean()) for one in finer),
            "full resolution, error, largest at any point [mm]": max(float(one[1].max()) for one in finer),
            "full resolution, apart from rigid, mean [mm]": mean(float(one[2].mean()) for one in finer),
            "full resolution, apart from rigid, largest [mm]": max(float(one[2].max()) for one in finer),
        }
    return figures


def _deformable_figures(prior: Volume, judged: bool) -> dict[str, Any]:
    pair = followup(prior, replace(settings_for("medium", "same"), pixel_ratio=1.0), seed=3)
    rigid = register(pair.prior, pair.target)
    found, (seconds, busy) = _timed(lambda: register_deformably(pair.prior, pair.target, rigid))
    figures = {
        "deformable, after rigid [s]": seconds,
        "deformable, after rigid, CPU [s]": busy,
        "deformable, correlation before": rigid.quality,
        "deformable, correlation": found.quality,
    }
    if not judged:
        return figures
    before, after = pair.errors(rigid), pair.errors(found)
    return figures | {
        "deformable, error before, mean [mm]": float(before.mean()),
        "deformable, error, mean [mm]": float(after.mean()),
        "deformable, error, 95 % below [mm]": float(np.percentile(after, 95)),
    }


def followup(prior: Volume, settings: FollowUpSettings, seed: int) -> Pair:
    """The prior moved and scanned again; no tissue is replaced, so that it is known where every point belongs."""
    motion = draw_motion(prior, settings, np.random.default_rng([seed, 1]))
    grid = scan_grid(prior, motion, settings)
    array = prior.array.astype(np.float32)
    image, _ = scan(array, prior.geometry, [], motion, grid, settings, np.random.default_rng([seed, 2]), silent)
    target = Volume(image, grid, "CT")
    points = _body_points(target)
    return Pair(prior, target, *_seen(points, motion, prior))


def _body_points(volume: Volume) -> np.ndarray:
    blocks = coarse_blocks(volume.geometry, 8.0)
    array = block_means(volume.array, blocks)
    grid = coarse_geometry(volume.geometry, blocks, (array.shape[0], array.shape[1], array.shape[2]))
    return grid.world(np.argwhere(body_mask(array, -300.0))[:, ::-1])


def _seen(points: np.ndarray, motion: Motion, prior: Volume) -> tuple[np.ndarray, np.ndarray]:
    """The points that the prior shows too, and where in it they belong."""
    truth = motion.to_prior(points)
    index = prior.geometry.index(truth)
    inside = np.all((index >= 0) & (index <= np.array(prior.geometry.shape[::-1]) - 1), axis=1)
    return points[inside], truth[inside]


def _timed(work: Callable[[], Found]) -> tuple[Found, tuple[float, float]]:
    """What it gave, seconds by the clock, and seconds of processors."""
    clock, busy = time.perf_counter(), time.process_time()
    found = work()
    return found, (time.perf_counter() - clock, time.process_time() - busy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="a CT of the thorax; default: a phantom")
    parser.add_argument("--repeats", type=int, default=5, help="motions")
    parser.add_argument("--full", type=int, default=1, help="how many of them at full resolution too")
    print(json.dumps(run(**vars(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
