"""Report of a video: figures for every frame, the path, and the frames to look at first.

Frames are told by their number: a file's name may hold the patient's. Results pass through a :class:`VideoRecord` one
at a time; of each it keeps figures, and pictures only of the frames with the lowest confidence, so that a long video
needs no more memory than a short one.
"""

from __future__ import annotations

import heapq
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from PIL import Image

from adaptsam.image.remarks import Remark, warnings_of
from adaptsam.metrics.motion import Motion, motion
from adaptsam.metrics.volume_metrics import dice
from adaptsam.report import html_page as page
from adaptsam.report.line_charts import Panel, draw_curves
from adaptsam.report.mask_overlay import Color
from adaptsam.report.volume_report import facts

if TYPE_CHECKING:
    from adaptsam.sam import SamModel
    from adaptsam.slicewise.frame_report import FrameReport, FrameResult

#: Pictures in the report, and their width in pixels.
THUMBNAILS = 48
THUMBNAIL_WIDTH = 300


@dataclass(eq=False)
class VideoRecord:
    """Record of a video's results, kept for the report.

    Args:
        names: of all frames.
        colors: of the structures.
        remarks: what the readers left out or had to choose, by what it is about.

    Attributes:
        reports: by structure, one for each frame so far.
        dices: by structure, the Dice with the reference on each frame; empty without references.
    """

    names: Sequence[str]
    colors: Mapping[str, Color]
    remarks: Mapping[str, tuple[Remark, ...]] = field(default_factory=dict)
    reports: dict[str, list[FrameReport]] = field(default_factory=dict)
    dices: dict[str, list[float]] = field(default_factory=dict)
    _pictures: list[tuple[float, int, bytes]] = field(default_factory=list)

    def add(self, result: FrameResult, overlay: np.ndarray, reference: Mapping[str, np.ndarray] | None = None) -> None:
        """Remember one frame, with the picture uint8 (H, W, 3) that shows its masks."""
        for name, report in result.reports.items():
            self.reports.setdefault(name, []).append(report)
            if reference is not None:
                truth = reference.get(name, np.zeros_like(result.masks[name]))
                self.dices.setdefault(name, []).append(dice(result.masks[name], truth))
        entry = (-confidence_of(result), -result.index, b"")
        if len(self._pictures) < THUMBNAILS or entry > self._pictures[0]:
            push = heapq.heappush if len(self._pictures) < THUMBNAILS else heapq.heapreplace
            push(self._pictures, (entry[0], entry[1], _thumbnail(overlay)))

    @property
    def pictures(self) -> list[tuple[int, float, bytes]]:
        """Frame, confidence and JPEG of the frames with the lowest confidence, the lowest first."""
        return [(-index, -value, jpeg) for value, index, jpeg in sorted(self._pictures, reverse=True)]

    def motion(self, name: str) -> Motion:
        """The path of one structure in pixels, relative to the outlined frame, or to the first where it was found."""
        reports = self.reports[name]
        path = np.array([report.centroid for report in reports])
        drawn = [number for number, report in enumerate(reports) if report.drawn]
        found = [*drawn, *np.flatnonzero(np.isfinite(path[:, 0]))]
        return motion(path, np.array([report.area for report in reports]), int(found[0]) if found else 0)

    def scored(self, name: str) -> list[float]:
        """The Dice of all frames but the outlined one."""
        return [
            value
            for value, report in zip(self.dices.get(name, ()), self.reports[name], strict=False)
            if not report.drawn and np.isfinite(value)
        ]


def confidence_of(result: FrameResult) -> float:
    """The lowest confidence of the structures of a frame."""
    return min(report.confidence for report in result.reports.values())


def write_video_report(path: Path, record: VideoRecord, *, model: SamModel, settings: object) -> None:
    """Write the report's HTML file, with its pictures inside."""
    blocks = [
        page.structure(name, record.colors[name], [page.picture(_curves(record, name), f"Area and position of {name}")])
        for name in record.reports
    ]
    title = f"Video of {len(record.names)} frames"
    section = page.section(title, [_table(record), *blocks, _thumbnails(record)], warnings(record))
    path.write_text(page.document([section], facts(model, settings)), encoding="utf-8")


def warnings(record: VideoRecord) -> list[str]:
    """Sentences for the user."""
    texts = list(warnings_of(record.remarks))
    for name, reports in record.reports.items():
        others = [report for report in reports if not report.drawn]
        empty = sum(not report.area for report in others)
        if empty == len(others):
            where = "no frame but the outlined one" if len(others) < len(reports) else "no frame"
            texts.append(f"{name} was found on {where}; a larger model may find it.")
        elif empty:
            texts.append(f"{name} was not found on {empty} of {len(reports)} frames; their masks are empty.")
    return texts


def video_summary(record: VideoRecord) -> list[dict[str, object]]:
    """The figures of each structure, for programs."""
    rows = []
    for name, reports in record.reports.items():
        path = record.motion(name)
        scores = record.scored(name)
        frames = [
            {
                "frame": number,
                "drawn": report.drawn,
                "accepted": report.accepted,
                "confidence": report.confidence,
                "distance": report.distance,
                "threshold": report.threshold,
                "area_pixels": report.area,
                "centroid_xy": report.centroid,
                "anchor_frame": report.anchor if report.anchor >= 0 else None,
                **({"dice": record.dices[name][number]} if name in record.dices else {}),
            }
            for number, report in enumerate(reports)
        ]
        rows.append(
            {
                "name": name,
                "found_on_frames": sum(report.area > 0 for report in reports),
                "amplitude_x_pixels": path.amplitude[0],
                "amplitude_y_pixels": path.amplitude[1],
                "extent_pixels": path.extent,
                "mean_dice": float(np.mean(scores)) if scores else None,
                "frames": frames,
            }
        )
    return rows


def table_rows(record: VideoRecord) -> list[dict[str, object]]:
    """One row a structure, for the terminal and the report."""
    rows = []
    for name, reports in record.reports.items():
        path = record.motion(name)
        areas = path.sizes[path.sizes > 0]
        held = [report.confidence for report in reports if report.area and not report.drawn]
        row: dict[str, object] = {
            "structure": name,
            "frames": len(reports),
            "found on": len(areas),
            "median area px": float(np.median(areas)) if len(areas) else None,
            "moves x px": float(path.amplitude[0]),
            "moves y px": float(path.amplitude[1]),
            "lowest conf.": min(held, default=None),
        }
        scores = record.scored(name)
        if scores:
            row["mean Dice"] = float(np.mean(scores))
        rows.append(row)
    return rows


def _table(record: VideoRecord) -> Markup:
    return page.text_table([{name: _text(value) for name, value in row.items()} for row in table_rows(record)])


def _text(value: object) -> str:
    if value is None:
        return "–"
    return page.number(value, 2 if abs(value) < 10 else 0) if isinstance(value, float) else str(value)


def _curves(record: VideoRecord, name: str) -> bytes:
    path = record.motion(name)
    confidence = np.array([report.confidence for report in record.reports[name]])
    panels = [
        Panel("Confidence, 0 to 1", [("confidence", confidence)], (0, 1.05)),
        Panel("Area in pixels", [("area", path.sizes)]),
        Panel("Position in pixels", [("x, to the right", path.path[:, 0]), ("y, downward", path.path[:, 1])]),
    ]
    if name in record.dices:
        panels.insert(1, Panel("Dice with the reference", [("Dice", np.array(record.dices[name]))], (0, 1.05)))
    return draw_curves(panels, None, "frame")


def _thumbnails(record: VideoRecord) -> Markup:
    pictures = record.pictures
    said = "All frames" if len(pictures) == len(record.names) else f"The {len(pictures)} frames"
    shown = [
        (page.picture(jpeg, f"Frame {index}", "jpeg"), f"Frame {index} · confidence {value:.2f}")
        for index, value, jpeg in pictures
    ]
    legend = f"{said}, the lowest confidence first. A white outline is the reference."
    return page.gallery("Look at these first", legend, shown)


def _thumbnail(overlay: np.ndarray) -> bytes:
    image = Image.fromarray(overlay)
    image.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
