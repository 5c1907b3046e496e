"""Time and memory of reading a CT of 1,000 slices of 512×512 pixels, in a process of its own.

python Testing/tools/experiments/thousand_slices.py
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import generate_uid

from adaptsam.image import Geometry, Volume
from adaptsam.io import read_volume, write_dicom_series


def write_series(folder: Path, slices: int, side: int) -> None:
    """A series of noise in air, of which one slice is written and the others are copies of it with their own places."""
    rng = np.random.default_rng(0)
    array = rng.integers(-1024, 1500, (1, side, side)).astype(np.int16)
    write_dicom_series(folder, Volume(array, Geometry(array.shape, (0.8, 0.8, 1.0), (0.0, 0.0, 0.0)), "CT"))
    [first] = folder.iterdir()
    dataset = dcmread(first)
    for k in range(1, slices):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.ImagePositionPatient, dataset.InstanceNumber = [0, 0, k], k + 1
        dataset.save_as(folder / f"{k:04d}.dcm")


def _read(folder: Path, told: multiprocessing.Queue[tuple[float, float, float, int]]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.monotonic(), time.process_time()
    volume = read_volume(folder)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    told.put(
        (time.monotonic() - began, time.process_time() - cpu, more * 1024 / volume.array.nbytes, len(volume.array))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--side", type=int, default=512)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_series(Path(folder), args.slices, args.side)
        spawn = multiprocessing.get_context("spawn")
        told = spawn.Queue()
        process = spawn.Process(target=_read, args=(Path(folder), told))
        process.start()
        seconds, cpu, share, slices = told.get()
        process.join()
    print(f"{slices} slices of {args.side}×{args.side}: {seconds:.1f} s ({cpu:.1f} s of CPU), {share:.2f} × the array")


if __name__ == "__main__":
    main()
