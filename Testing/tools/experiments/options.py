"""Every option beyond the paper, one at a time beside the plain method, and together: one line of a table each.

    python Testing/tools/experiments/options.py --patients 8 --first-seed 200000 --output options.jsonl
    python Testing/tools/experiments/options.py --image CT --mask RTSTRUCT --target CT2 --reference RTSTRUCT2 --output …

Lines of JSON, one for each case, option and structure; what is in the file already is not computed again. Embeddings
are kept in --cache, and the registrations of a case are shared by its options, so that only decoding is repeated.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata, spearmanr

from adaptsam.image import Structure, StructureSet, Volume, select_structures
from adaptsam.image.orientation import acquisition_plane
from adaptsam.io import read_structures, read_volume
from adaptsam.metrics.volume_metrics import compare
from adaptsam.propagation.baselines import copy_contours, deform_mask, move_mask
from adaptsam.propagation.p2sam_slice_method import P2SamSlices
from adaptsam.propagation.volume_propagation import PropagationSettings
from adaptsam.registration import DeformableSettings, Deformation, Rigid, register, register_deformably
from adaptsam.sam import EmbeddingStore, load_sam
from adaptsam.slicewise import PriorVisit, SliceReport, carry
from adaptsam.slicewise.slice_images import SliceImages
from adaptsam.synthetic.thorax_phantom import phantom_patient

DEFAULT = PropagationSettings()
PLAIN = replace(DEFAULT, fusion="off", register="rigid")
OPTIONS: dict[str, PropagationSettings] = {
    "plain": PLAIN,
    "plain, near the deformable contour": replace(PLAIN, register="deformable"),
    "plain, 3 prior slices": replace(PLAIN, prior_slices=3),
    "plain, begun with the contour": replace(PLAIN, hint="contour"),
    "plain, begun with the neighbour": replace(PLAIN, hint="neighbour"),
    "plain, magnified": replace(PLAIN, view="magnified"),
    "fusion, rigid": replace(PLAIN, fusion="calibrated"),
    "default": DEFAULT,
    "default, confidence of terms": replace(DEFAULT, confidence=replace(DEFAULT.confidence, kind="terms")),
    "default without appearance": replace(DEFAULT, fusing=replace(DEFAULT.fusing, appearance=False)),
    "default, one error everywhere": replace(DEFAULT, fusing=replace(DEFAULT.fusing, misfit=None)),
    "default, 3 prior slices": replace(DEFAULT, prior_slices=3),
    "default, begun with the contour": replace(DEFAULT, hint="contour"),
    "everything": replace(DEFAULT, prior_slices=3, hint="contour"),
}
BASELINES = ("copy", "rigid", "deformable")

#: A slice with less Dice than this is bad: one that a person should look at.
BAD_BELOW = 0.7

QUICK_SLICES = 20


@dataclass(frozen=True)
class Case:
    """A prior visit, a target and the truth on it."""

    name: str
    prior: Volume
    structures: StructureSet
    target: Volume
    truth: StructureSet

    @cached_property
    def _turned(self) -> tuple[Volume, Volume]:
        plane = acquisition_plane(self.prior.geometry, any(s.contoured is not None for s in self.structures.structures))
        return SliceImages(self.prior, plane).volume, SliceImages(self.target, plane).volume

    @cached_property
    def rigid(self) -> Rigid:
        return register(*self._turned)

    @cached_property
    def deformation(self) -> Deformation:
        return register_deformably(*self._turned, self.rigid, DeformableSettings())

    def registration(self, settings: PropagationSettings) -> Rigid | Deformation | None:
        return {"rigid": self.rigid, "deformable": self.deformation}[settings.register]

    def baseline(self, name: str) -> list[np.ndarray]:
        """The masks of registration alone."""
        source, grid = self.prior.geometry, self.target.geometry
        if name == "copy":
            return [one.mask for one in copy_contours(self.structures, self.target).structures]
        masks = [one.mask for one in self.structures.structures]
        if name == "rigid":
            return [move_mask(mask, source, grid, self.rigid.matrix) for mask in masks]
        return [deform_mask(mask, source, grid, self.deformation) for mask in masks]


def phantom_cases(first: int, patients: int, quick: bool) -> Iterator[Case]:
    """Two visits of patients that no training used; ``quick`` ones are coarse, and short about the tumour."""
    grid: dict[str, Any] = {"shape": (64, 224, 224), "spacing": (1.95, 1.95, 4.5)}
    if quick:
        grid = {"shape": (40, 144, 144), "spacing": (3.0, 3.0, 6.0)}
    for seed in range(first, first + patients):
        visits = [(visit.volume, visit.structures) for visit in phantom_patient(seed, 2, **grid)]
        if quick:
            held = np.flatnonzero(visits[0][1].structures[0].mask.any(axis=(1, 2)))
            start = int(np.clip(held.mean() - QUICK_SLICES / 2, 0, grid["shape"][0] - QUICK_SLICES))
            visits = [_shortened(*visit, slice(start, start + QUICK_SLICES)) for visit in visits]
        yield Case(f"phantom {seed}{' quick' if quick else ''}", *visits[0], *visits[1])


def _shortened(volume: Volume, structures: StructureSet, kept: slice) -> tuple[Volume, StructureSet]:
    grid = volume.geometry
    shape = (kept.stop - kept.start, *grid.shape[1:])
    x, y, z = grid.world(np.array([0, 0, kept.start], float))
    grid = replace(grid, shape=shape, origin=(float(x), float(y), float(z)))
    some = tuple(replace(s, mask=s.mask[kept].copy(), contoured=None) for s in structures.structures)
    return replace(volume, array=volume.array[kept].copy(), geometry=grid, dicom=None), StructureSet(
        tuple(one for one in some if one.mask.any()), grid
    )


def given_case(args: argparse.Namespace) -> Case:
    prior, target = read_volume(args.image), read_volume(args.target)
    structures = select_structures(read_structures(args.mask, prior))
    truth = read_structures(args.reference, target)
    both = tuple(one for one in structures.structures if one.name in truth.names)
    return Case(args.name or args.target.name, prior, replace(structures, structures=both), target, truth)


def measured(case: Case, option: str, store: EmbeddingStore) -> Iterator[dict[str, object]]:
    """One line for each structure."""
    slices: Sequence[Sequence[SliceReport]] = [()] * len(case.structures.structures)
    if option in BASELINES:
        masks = case.baseline(option)
        statuses = [""] * len(masks)
    else:
        settings = OPTIONS[option]
        visit = PriorVisit(P2SamSlices(store, settings.p2sam), case.prior, case.structures, settings)
        carried = carry(visit, case.target, registration=case.registration(settings))
        masks, slices = list(carried.masks), [report.slices for report in carried.reports]
        statuses = [report.status for report in carried.reports]
    truth = {one.name: one for one in case.truth.structures}
    for structure, mask, status, own in zip(case.structures.structures, masks, statuses, slices, strict=True):
        agreement = compare(mask, truth[structure.name].mask, case.target.geometry)
        yield {
            "case": case.name,
            "option": option,
            "structure": structure.name,
            "status": status,
            "dice": agreement.dice,
            "hd95": agreement.hausdorff_95,
            "surface": agreement.surface_dice,
            "slices": [list(_slice_figures(one, mask, truth[structure.name])) for one in own],
        }


def _slice_figures(report: SliceReport, mask: np.ndarray, truth: Structure) -> tuple[float, float]:
    """Confidence and Dice of a slice; slices run along k in all these cases."""
    ours, theirs = mask[report.index], truth.mask[report.index]
    total = int(ours.sum() + theirs.sum())
    return round(report.confidence, 4), round(2 * int((ours & theirs).sum()) / total, 4) if total else 1.0


def table(lines: Sequence[Mapping[str, object]], key: str = "dice") -> str:
    """The mean of one figure by option (rows) and structure (columns)."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for line in lines:
        values[str(line["option"]), str(line["structure"])].append(float(line[key]))  # type: ignore[arg-type]
    options = list(dict.fromkeys(option for option, _ in values))
    structures = list(dict.fromkeys(structure for _, structure in values))
    rows = [f"{key:40s}" + "".join(f"{name[:12]:>13s}" for name in structures) + "         mean   n"]
    for option in options:
        means = [np.nanmean(values[option, s]) if (option, s) in values else np.nan for s in structures]
        count = len(values[option, structures[0]])
        rows.append(f"{option:40s}" + "".join(f"{m:13.3f}" for m in means) + f"{np.nanmean(means):13.3f} {count:3d}")
    return "\n".join(rows)


def calibration(lines: Sequence[Mapping[str, object]]) -> str:
    """Does confidence sort slices by Dice? Rank correlation, and the chance that a bad slice is below a good one."""
    pooled: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in lines:
        pooled[str(line["option"])] += [(c, d) for c, d in line["slices"]]  # type: ignore[attr-defined]
    rows = [f"{'confidence against slice Dice':40s}   Spearman   AUC of bad slices   share bad   error"]
    for option, pairs in pooled.items():
        if not pairs:
            continue
        confidence, dice = np.array(pairs).T
        bad = dice < BAD_BELOW
        ranks = rankdata(-confidence)
        area = (ranks[bad].sum() - bad.sum() * (bad.sum() + 1) / 2) / max(1, bad.sum() * (~bad).sum())
        error = np.abs(confidence - dice).mean()
        rows.append(f"{option:40s}{spearmanr(confidence, dice)[0]:11.3f}{area:15.3f}{bad.mean():16.3f}{error:11.3f}")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=200_000)
    parser.add_argument("--quick", action="store_true", help="coarse, short phantoms: a tenth of the time")
    parser.add_argument("--image", type=Path, help="a real case in place of phantoms")
    parser.add_argument("--mask", type=Path)
    parser.add_argument("--target", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--name", help="what the case is called in the table")
    parser.add_argument("--option", action="append", help="only these; repeat for more; default: all and the baselines")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--cache", type=Path, help="where embeddings stay between runs")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    options = args.option or [*BASELINES, *OPTIONS]
    lines = [json.loads(line) for line in args.output.read_text().splitlines()] if args.output.exists() else []
    done = {(line["case"], line["option"]) for line in lines}
    store = EmbeddingStore(load_sam(args.checkpoint, "cpu"), folder=args.cache)
    for case in [given_case(args)] if args.image else phantom_cases(args.first_seed, args.patients, args.quick):
        for option in options:
            if (case.name, option) in done:
                continue
            new = list(measured(case, option, store))
            lines += new
            with args.output.open("a") as file:
                file.writelines(json.dumps(line) + "\n" for line in new)
    shown = [line for line in lines if line["option"] in options]
    print(table(shown), table(shown, "surface"), calibration(shown), sep="\n\n")


if __name__ == "__main__":
    main()
