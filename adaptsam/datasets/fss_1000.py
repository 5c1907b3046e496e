"""FSS-1000 (Li et al., 2020): 1000 classes of ten pictures; the 240 of the test split."""

from __future__ import annotations

from pathlib import Path

from adaptsam.datasets.dataset import Case, DataSet, Sample
from adaptsam.datasets.dataset_folders import existing_folder, listed, subfolders
from adaptsam.datasets.mask_encodings import SoftMask
from adaptsam.errors import InputError

KIND = "fss-1000"
PICTURES = 10


def open_fss_1000(path: str | Path, *, split: str = "test") -> DataSet:
    """The data set as few-shot methods keep it: ``data/<class>/1.jpg`` to ``10.jpg``, ``splits/test.txt``.

    A case is a class. The pictures may also lie in ``fewshot_data/<class>/``, as they are downloaded.

    Raises:
        InputError: there is no such folder, or it lacks pictures or the split.
    """
    root = existing_folder(path)
    root = root / "FSS-1000" if (root / "FSS-1000").is_dir() else root
    places = [root / "data", root / "fewshot_data", root / "fewshot_data" / "fewshot_data"]
    pictures = next((place for place in places if place.is_dir() and subfolders(place)), None)
    list_file = root / "splits" / f"{split}.txt"
    if pictures is None:
        raise InputError(f"{root.name} has no folder data with a folder for each class; give the unpacked FSS-1000.")
    if not list_file.is_file():
        raise InputError(
            f"{root.name} lacks splits/{split}.txt, the list of its classes; take it from HSNet or Matcher."
        )
    names = sorted(line.strip() for line in list_file.read_text(encoding="utf-8").splitlines() if line.strip())
    lacking = [name for name in names if not (pictures / name).is_dir()]
    cases = tuple(_class(pictures / name) for name in names if name not in lacking)
    problems = (f"{len(lacking)} of {len(names)} classes are not here: {listed(lacking)}.",) if lacking else ()
    return DataSet(KIND, root.name, cases, unit="class", problems=problems)


def _class(folder: Path) -> Case:
    samples, problems = [], []
    for number in sorted(str(n) for n in range(1, PICTURES + 1)):  # as the published order of file names
        image, mask = folder / f"{number}.jpg", folder / f"{number}.png"
        if image.is_file() and mask.is_file():
            samples.append(Sample(f"{folder.name}/{number}", folder.name, SoftMask(image, mask)))
        else:
            problems.append(f"{folder.name}/{number} lacks its {'mask' if image.is_file() else 'picture'}.")
    return Case(folder.name, tuple(samples), len(samples), tuple(problems))
