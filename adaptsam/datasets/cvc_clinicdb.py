"""CVC-ClinicDB (Bernal et al.): 612 frames of 29 colonoscopy sequences with a mask of the polyp each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from adaptsam.datasets.dataset import Case, DataSet
from adaptsam.datasets.dataset_folders import existing_folder, listed, subfolders
from adaptsam.datasets.paired_images import picture_cases
from adaptsam.errors import InputError
from adaptsam.io.video.frames import pictures_in

KIND = "cvc-clinicdb"
IMAGES, MASKS = "Original", "Ground Truth"
PUBLISHED = 612
#: Where each sequence starts, in frames counted from 0.
STARTS: tuple[int, ...] = (
    *(0, 25, 50, 67, 78, 103, 126, 151, 177, 199, 205, 227, 252, 277, 297),
    *(317, 342, 363, 383, 408, 428, 447, 466, 478, 503, 528, 546, 571, 591),
)


def open_cvc_clinicdb(path: str | Path) -> DataSet:
    """The data set as it is unpacked: ``Original/1.tif`` to ``612.tif`` and ``Ground Truth/``; as PNG too.

    A case is a sequence. Samples are named ``sequence-01/frame-001``, with the files' own numbers.

    Raises:
        InputError: there is no such folder, or it lacks one of the two.
    """
    root = cvc_root(existing_folder(path))
    if root is None:
        raise InputError(
            f"{Path(path).absolute().name} has no folders '{IMAGES}' and '{MASKS}'; give the unpacked CVC-ClinicDB."
        )
    images, masks = pictures_in(root / IMAGES), pictures_in(root / MASKS)
    numbered = [path for path in images if _number(path) is not None]
    drawn = [path for path in masks if _number(path) is not None]
    others = sorted({path.name for path in (*images, *masks)} - {path.name for path in (*numbered, *drawn)})
    frames = picture_cases(numbered, drawn, lambda file: str(_number(file)), name=_sample_name, patient=_sequence)
    cases = tuple(_sequences(frames))
    problems = (f"These files are not called 1 to {PUBLISHED}, and are left out: {listed(others)}.",) if others else ()
    here = sum(case.images for case in cases)
    remarks = (f"{here} of the {PUBLISHED} published frames are here.",) if here != PUBLISHED else ()
    return DataSet(KIND, root.name, cases, unit="sequence", problems=problems, remarks=remarks)


def cvc_root(folder: Path) -> Path | None:
    """The folder, or one up to two levels below it, that has both folders; the published TIFF before copies as PNG."""
    level = [folder]
    for _ in range(3):
        found = [place for place in level if (place / IMAGES).is_dir() and (place / MASKS).is_dir()]
        if found:
            return min(found, key=lambda place: ("tif" not in place.name.lower(), place.name))
        level = [place for parent in level for place in subfolders(parent)]
    return None


def _number(path: Path) -> int | None:
    """A frame's number, from 1, which is its file's name."""
    return int(path.stem) if path.stem.isdecimal() and 1 <= int(path.stem) <= PUBLISHED else None


def _sequence(number: str) -> str:
    return f"sequence-{bisect_right(STARTS, int(number) - 1):02d}"


def _sample_name(number: str) -> str:
    return f"{_sequence(number)}/frame-{int(number):03d}"


def _sequences(frames: tuple[Case, ...]) -> Iterator[Case]:
    """Frames as sequences, each with the frames that it lacks."""
    together: dict[str, list[Case]] = {}
    for frame in frames:
        together.setdefault(frame.name.split("/")[0], []).append(frame)
    for name in sorted(together):
        here = sorted(together[name], key=lambda frame: frame.name)
        problems = [f"{frame.name.split('/')[1]}: {text}" for frame in here for text in frame.problems]
        start = int(name[-2:]) - 1
        end = STARTS[start + 1] if start + 1 < len(STARTS) else PUBLISHED
        lacking = sorted(set(range(STARTS[start] + 1, end + 1)) - {int(frame.name[-3:]) for frame in here})
        remarks = (f"It lacks the frames {listed([str(number) for number in lacking])}.",) if lacking else ()
        yield replace(
            Case(name, tuple(sample for frame in here for sample in frame.samples)),
            images=sum(frame.images for frame in here),
            problems=tuple(problems),
            remarks=remarks,
        )
