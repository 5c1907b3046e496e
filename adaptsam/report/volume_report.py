"""One HTML file that tells a person what was propagated or found, and which slices to look at first.

The file opens off line: its pictures are inside. It says nothing about who the patient is: no name, number, date or
path enters it, only the names of the structures.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from PIL import Image

import adaptsam
from adaptsam.image.intensity import Window
from adaptsam.image.orientation import canonical_orientation, nearest_axes
from adaptsam.image.remarks import warnings_of
from adaptsam.image.volume import Geometry, Structure, StructureSet, Volume
from adaptsam.image.windowing import choose_window
from adaptsam.metrics.volume_metrics import Agreement, bounding_box, compare_structures
from adaptsam.propagation.baselines import carry_rigidly
from adaptsam.report import html_page as page
from adaptsam.report import slice_viewer
from adaptsam.report.course_report import Course
from adaptsam.report.slice_pictures import Color, Pane, draw_confidence, draw_pair

if TYPE_CHECKING:
    from adaptsam.autoprompting.volume_autoprompting import AutoPrompt
    from adaptsam.propagation.volume_propagation import Propagation
    from adaptsam.sam import SamModel
    from adaptsam.slicewise.slice_report import SliceReport, StructureReport

#: How many slices are drawn for each structure: the main one, and those with the lowest confidence.
PICTURES_PER_STRUCTURE = 3
#: With more structures than this, only the main slice of each is drawn.
FEW_STRUCTURES = 8
SLICES_TO_REVIEW = 12
REFERENCE_COLOR: Color = (255, 255, 255)
_LEGEND = (
    "{} at the same scale. Green discs are positive prompts, red crosses negative ones. A white contour is the "
    "reference, where there is one."
)


@dataclass(frozen=True)
class Visit:
    """One target as the report shows it.

    ``reference`` are contours to measure against, where there are any; ``agreements`` is how the propagation agrees
    with them, ``baseline`` how the prior's contours do when registration alone moves them.
    """

    title: str
    volume: Volume
    propagation: Propagation | AutoPrompt
    reference: StructureSet | None = None
    agreements: Mapping[str, Agreement] = field(default_factory=dict)
    baseline: Mapping[str, Agreement] = field(default_factory=dict)


def measured(visit: Visit, prior: Volume, structures: StructureSet, reference: StructureSet) -> Visit:
    """The visit with its agreement with ``reference``, and with that of the contours that registration alone moves."""
    rigid = carry_rigidly(prior, structures, visit.volume)
    return replace(compared(visit, reference), baseline=compare_structures(rigid, reference))


def compared(visit: Visit, reference: StructureSet) -> Visit:
    """The visit with its agreement with ``reference``, and a warning for structures that are not in it."""
    agreements = compare_structures(visit.propagation.structures, reference)
    if reference.remarks:
        visit = _with_remarks(visit, reference)
    lacking = [name for name in visit.propagation.structures.names if name not in agreements]
    if lacking:
        text = (
            f"The reference has no {' and no '.join(map(repr, lacking))}, so nothing was measured there; it has: "
            f"{', '.join(reference.names)}."
        )
        warnings = (*visit.propagation.warnings, text)
        visit = replace(visit, propagation=replace(visit.propagation, warnings=warnings))
    return replace(visit, reference=reference, agreements=agreements)


def _with_remarks(visit: Visit, reference: StructureSet) -> Visit:
    """The visit with what was left out of the reference."""
    about = {"reference": reference.remarks}
    propagation = visit.propagation
    return replace(
        visit,
        propagation=replace(
            propagation,
            warnings=(*propagation.warnings, *warnings_of(about)),
            remarks={**propagation.remarks, **about},
        ),
    )


def write_report(
    folder: Path,
    prior: Volume | None,
    structures: StructureSet | None,
    visits: Iterable[Visit],
    *,
    model: SamModel,
    settings: object,
    note: str = "",
    course: Course | None = None,
    targets: int = 1,
) -> Path:
    """Write ``report.html`` and the folder ``pictures`` into an existing folder; return the page's path.

    Args:
        prior, structures: None where contours were found without a prior.
        visits: drawn one at a time, and not kept.
        course: what changed over the visits; asked when all of them were taken.
        settings: the dataclass of settings that the run had.
        note: a sentence for the head of the page, for example that the patient is synthetic.
        targets: how many visits there will be: they share the room that the page has for pictures of all slices.
    """
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    sections: list[Markup] = []
    for visit in visits:
        sections.append(_section(len(sections) + 1, visit, prior, structures, pictures, max(targets, 1)))
        del visit  # or it would be in memory beside the next one
    if course is not None:
        sections.insert(0, course.section())
    path = folder / "report.html"
    path.write_text(
        page.document(sections, facts(model, settings), note, propagated=prior is not None, viewers=True),
        encoding="utf-8",
    )
    return path


def facts(model: SamModel, settings: object) -> dict[str, str]:
    """Facts about a run, in words; ``settings`` is a dataclass."""
    return {
        "AdaptSAM": adaptsam.__version__,
        "Model": model.kind,
        "Model SHA-256": model.sha256,
        "Precision of the image encoder": str(model.precision).removeprefix("torch."),
        **{name: page.plain(value) for name, value in _flat(settings).items()},
    }


def _section(
    number: int, visit: Visit, prior: Volume | None, structures: StructureSet | None, pictures: Path, targets: int
) -> Markup:
    """Section on one target: warnings, the table, and each structure\'s confidence, slices and pictures."""
    reports = visit.propagation.reports
    colors = {structure.name: structure.color for structure in visit.propagation.structures.structures}
    to_review = slices_to_review(reports)
    room = slice_viewer.PAGE_BYTES // (targets * max(len(reports), 1))
    blocks, viewers = [], {}
    for place, report in enumerate(reports, start=1):
        drawn = _draw_structure(visit, report, prior, structures, len(reports) * targets <= FEW_STRUCTURES)
        images, pairs = [], []
        for name, (alt, png) in drawn.items():
            # The place keeps the files of "GTV 1" and "GTV-1" apart.
            (pictures / f"target-{number}-{place}-{_file_name(report.name)}-{name}.png").write_bytes(png)
            if name == "confidence":
                images.append(page.picture(png, alt))
            else:
                pairs.append((alt, _as_jpeg(png)))
        key = f"slices-{number}-{place}"
        flagged = {slice_.index for one, slice_ in to_review if one is report}
        shown = _viewer(key, visit, report, prior, structures, flagged, room)
        if shown:
            viewers[report.name] = key
        # Without a viewer, the still pictures are all there is to see.
        stills = [page.picture(jpeg, alt, "jpeg", "still" if shown else "") for alt, jpeg in pairs]
        blocks.append(page.structure(report.name, colors.get(report.name, (128, 128, 128)), [*images, shown, *stills]))
    table = page.structures_table(reports, colors, visit.agreements, visit.baseline)
    review = page.review_table(
        [
            (report.name, slice_, position(visit.volume, report.slice_axis, slice_.index))
            for report, slice_ in to_review
        ],
        colors,
        viewers,
    )
    legend = _LEGEND.format(
        "Left the prior, right the target" if prior is not None else "Left the slice as it is, right what was found"
    )
    return page.section(visit.title, [table, review, page.note(legend), *blocks], visit.propagation.warnings)


def _viewer(
    key: str,
    visit: Visit,
    report: StructureReport,
    prior: Volume | None,
    structures: StructureSet | None,
    flagged: set[int],
    most_bytes: int,
) -> Markup:
    """All slices of one structure; nothing for volumes in colour."""
    before = _named(structures, report.name) if structures else None
    after = _named(visit.propagation.structures, report.name)
    if after is None or (structures is not None and before is None) or not slice_viewer.has_slices(visit.volume):
        return Markup()
    plane = slice_plane(visit.volume.geometry, report.slice_axis)
    windows = _windows(visit, prior)
    slices = []
    for one in sorted(report.slices, key=lambda slice_: slice_.index):
        left, right = _panes(visit, one, plane, prior, before, after, windows)
        where = position(visit.volume, report.slice_axis, one.index)
        words = f"Slice {one.index}, {where}, {_state(one)}"
        words += f"; prior slice {one.prior_index}" if prior is not None else ""
        slices.append(slice_viewer.ViewedSlice(left, right, words, one.index in flagged))
    return slice_viewer.viewer(
        key, report.name, slices, _shown_mm(visit, report, structures, before, after), most_bytes
    )


def _shown_mm(
    visit: Visit, report: StructureReport, structures: StructureSet | None, before: Structure | None, after: Structure
) -> float:
    """The side in mm of the square that shows a structure on both visits."""
    shown = [(after.mask, visit.volume.geometry)]
    if before is not None and structures is not None:
        shown.append((before.mask, structures.geometry))
    return field_of_view(slice_plane(visit.volume.geometry, report.slice_axis), *shown)


def _windows(visit: Visit, prior: Volume | None) -> tuple[Window, Window]:
    """Windows of the prior and of the target; found once for all slices."""
    target = choose_window(visit.volume, modality=prior.modality if prior else "")
    return (choose_window(prior) if prior else target), target


def _as_jpeg(png: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _draw_structure(
    visit: Visit, report: StructureReport, prior: Volume | None, structures: StructureSet | None, few: bool
) -> dict[str, tuple[str, bytes]]:
    """PNGs with their descriptions, by the end of their file names."""
    before = _named(structures, report.name) if structures else None
    after = _named(visit.propagation.structures, report.name)
    if after is None or (structures is not None and before is None):
        return {}
    drawn = {}
    if report.slices:
        bars = [(slice_.index, slice_.confidence, slice_.accepted) for slice_ in report.slices]
        drawn["confidence"] = (f"Confidence of each slice of {report.name}", draw_confidence(bars, after.color))
    plane = slice_plane(visit.volume.geometry, report.slice_axis)
    size = _shown_mm(visit, report, structures, before, after)
    windows = _windows(visit, prior)
    for chosen in _to_draw(report, after.mask)[: PICTURES_PER_STRUCTURE if few else 1]:
        panes = _panes(visit, chosen, plane, prior, before, after, windows)
        alt = f"{report.name} on the target's slice {chosen.index}"
        alt += f", and on the prior's slice {chosen.prior_index}" if before is not None else ""
        drawn[f"slice-{chosen.index}"] = (alt, draw_pair(*panes, size))
    return drawn


def _panes(
    visit: Visit,
    report: SliceReport,
    plane: int,
    prior: Volume | None,
    before: Structure | None,
    after: Structure,
    windows: tuple[Window, Window],
) -> tuple[Pane, Pane]:
    contours: list[tuple[np.ndarray, Color | None]] = [(after.mask, after.color)]
    truth = _named(visit.reference, after.name) if visit.reference else None
    if truth is not None:
        contours.append((truth.mask, REFERENCE_COLOR))
    window = windows[1]
    right = Pane(
        visit.volume,
        window,
        plane,
        report.index,
        f"{visit.title} · slice {report.index} · {_state(report)}",
        contours,
        report.points,
        report.labels,
    )
    if prior is None or before is None:
        # The same slice with nothing drawn on it, centred alike.
        nothing: list[tuple[np.ndarray, Color | None]] = [(after.mask, None)]
        return Pane(visit.volume, window, plane, report.index, f"{visit.title} · as it is", nothing), right
    left = Pane(
        prior,
        windows[0],
        plane,
        report.prior_index,
        f"Prior · slice {report.prior_index}",
        [(before.mask, before.color)],
    )
    return left, right


def _state(report: SliceReport) -> str:
    if report.accepted:
        return f"confidence {report.confidence:.2f}"
    if report.interpolated:
        return "filled in from its neighbours"
    return f"{'carried' if report.carried else 'empty'}, confidence {report.confidence:.2f}"


def _to_draw(report: StructureReport, mask: np.ndarray) -> list[SliceReport]:
    """The slice that shows most of the structure, then the least trusted ones."""
    if not report.slices:
        return []
    area = mask.sum(axis=tuple(axis for axis in range(3) if axis != report.slice_axis))
    main = max(report.slices, key=lambda slice_: (area[slice_.index], slice_.confidence))
    return [main, *(slice_ for slice_ in report.worst_slices if slice_ is not main)]


def slices_to_review(reports: Sequence[StructureReport]) -> list[tuple[StructureReport, SliceReport]]:
    """The slices of all structures that hold something or should, the least trusted first."""
    held = [(report, slice_) for report in reports for slice_ in report.worst_slices]
    return sorted(held, key=lambda pair: pair[1].confidence)[:SLICES_TO_REVIEW]


def slice_plane(geometry: Geometry, slice_axis: int) -> int:
    """The world axis (0 L, 1 P, 2 S) along which slices run that are counted along an axis of the array."""
    return nearest_axes(geometry)[2 - slice_axis]


def field_of_view(plane: int, *masks: tuple[np.ndarray, Geometry]) -> float:
    """The side in mm of a square that shows each mask (K, J, I) with its surroundings, in slices along ``plane``."""
    sides = [90.0]
    for mask, geometry in masks:
        box = bounding_box(mask)
        if box is not None:
            in_slice = canonical_orientation(geometry, plane).order[1:]
            sides.append(
                1.7 * max((box[axis].stop - box[axis].start) * geometry.spacing[2 - axis] for axis in in_slice)
            )
    return max(sides)


def position(volume: Volume, slice_axis: int, index: int) -> str:
    """Position of a slice in the patient, in mm as DICOM counts (LPS); empty for video frames."""
    if volume.array.ndim == 4:
        return ""
    geometry = volume.geometry
    middle = (np.array(geometry.shape[::-1]) - 1) / 2
    middle[2 - slice_axis] = index
    plane = slice_plane(geometry, slice_axis)
    return f"{'LPS'[plane]} {geometry.world(middle)[plane]:.1f} mm".replace("-", "−")


def _named(structures: StructureSet, name: str) -> Structure | None:
    return next((structure for structure in structures.structures if structure.name == name), None)


def _file_name(name: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in name).strip("-").lower() or "structure"


def _flat(settings: object, prefix: str = "") -> dict[str, object]:
    """Nested settings as one level of names."""
    values = asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else settings
    if not isinstance(values, Mapping):
        return {prefix.rstrip("."): values}
    flat: dict[str, object] = {}
    for name, value in values.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value})
    return flat
