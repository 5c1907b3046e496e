"""Requests about videos: follows structures from one outlined frame, and corrects frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from adaptsam.errors import InputError
from adaptsam.image.volume import Volume
from adaptsam.propagation.click_evidence import CorrectedSlice
from adaptsam.propagation.frame_correction import VideoVisit, correct_frame, follow_frame
from adaptsam.propagation.video_propagation import propagate_video
from adaptsam.propagation.video_settings import VideoSettings
from adaptsam.slicewise.frame_report import FrameReport
from adaptsam.slicewise.slice_report import FOUND, GONE
from adaptsam.worker import result_messages as messages
from adaptsam.worker import wire_format as wire
from adaptsam.worker.agent_requests import Home
from adaptsam.worker.recent_runs import LastRuns, asked_settings, tell_model
from adaptsam.worker.result_messages import Emit
from adaptsam.worker.run_events import Steps


@dataclass(eq=False)
class _Run:
    visit: VideoVisit
    frames: dict[str, Volume] = field(default_factory=dict)


class VideoRequests:
    """The worker's answers about videos; the last ones are remembered."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._runs: LastRuns[_Run] = LastRuns()

    def __contains__(self, run: object) -> bool:
        return run in self._runs

    def track(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """Follow what is outlined on the "prior" through the "targets": tells "progress", and "result" for each frame.

        ``drawn`` is where among the targets the outlined frame stands; -1 for another picture of the same thing.
        """
        settings = asked_settings(request, VideoSettings())
        targets, drawn = request["targets"], int(request.get("drawn", -1))
        prior = self._home.volume(request["prior"])
        image = picture(prior)
        masks = {one["name"]: wire.unpack_mask(one["mask"])[0] for one in request["structures"]}
        steps = Steps(emit, check, 1, one_stage=True)
        store = self._home.store(request.get("checkpoint"), request.get("device", "auto"), prior.array.nbytes)
        tell_model(emit, store)
        frames = [self._home.volume(one) for one in targets]
        run = _Run(VideoVisit(image, masks, store, settings))
        run.frames = {one["key"]: frame for one, frame in zip(targets, frames, strict=True)}
        shown: list[Volume] = [*frames[:drawn], prior, *frames[drawn:]] if drawn >= 0 else frames
        keys = [one["key"] for one in targets]
        if drawn >= 0:
            keys.insert(drawn, "")
        outlined = drawn if drawn >= 0 else image
        for made in propagate_video(_Pictures(shown), outlined, masks, store=store, settings=settings, progress=steps):
            if made.index != drawn:
                reports = [_report(name, made.reports[name], made.masks[name], masks[name]) for name in masks]
                emit("result", target=keys[made.index], structures=reports, warnings=[], encoded=store.encoded)
        self._runs[request["run"]] = run

    def correct(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """One frame from other prompts: tells "slice"."""
        run, structure = self._runs[request["run"]], request["structure"]
        points, labels, clicked = messages.asked_prompts(request)
        frame = picture(self._frame(run, request["target"]))
        made = correct_frame(run.visit, structure, frame, points, labels, clicked)
        emit("slice", **messages.slice_of(made))

    def follow(self, request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
        """Other frames from one that was drawn: tells "slice" with each frame's key as ``target``."""
        run, structure = self._runs[request["run"]], request["structure"]
        drawn = picture(self._frame(run, request["target"]))
        keys = request["targets"]
        others = [picture(self._frame(run, key)) for key in keys]
        mask = wire.unpack_mask(request["mask"])
        for key, made in zip(keys, follow_frame(run.visit, structure, drawn, mask, others), strict=True):
            check()
            report = made.reports[structure]
            again = CorrectedSlice(0, 0, made.masks[structure], report.points, report.labels, report.confidence)
            emit("slice", target=key, **messages.slice_of(again))

    @staticmethod
    def _frame(run: _Run, key: str) -> Volume:
        if key not in run.frames:
            raise InputError("The worker does not remember this frame any more; press Apply again, then correct.")
        return run.frames[key]


class _Pictures(Sequence[np.ndarray]):
    """Frames as pictures, read when they are looked at."""

    def __init__(self, volumes: Sequence[Volume]) -> None:
        self._volumes = volumes

    def __len__(self) -> int:
        return len(self._volumes)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        return picture(self._volumes[index])


def picture(volume: Volume) -> np.ndarray:
    """A colour volume of one slice as uint8 (H, W, 3)."""
    if volume.array.ndim != 4 or len(volume.array) != 1:
        raise InputError("A colour image of several slices is no frame of a video; give its slices as a sequence.")
    return np.ascontiguousarray(volume.array[0])


def _report(name: str, report: FrameReport, mask: np.ndarray, outlined: np.ndarray) -> wire.Message:
    """A frame as a structure with one slice; areas in pixels, the shift of the centroid in pixels."""
    before = np.argwhere(outlined).mean(axis=0)[::-1]
    return {
        "name": name,
        "mask": wire.pack_mask(mask[None]),
        "report": {
            "status": FOUND if mask.any() else GONE,
            "pixels": report.area,
            "prior_pixels": int(outlined.sum()),
            "centroid_shift_pixels": float(np.hypot(*(np.array(report.centroid) - before))),
            "slice_axis": 0,
            "slices": [
                {
                    "index": 0,
                    "accepted": report.accepted,
                    "interpolated": False,
                    "touches_limit": False,
                    "confidence": float(report.confidence),
                    **messages.prompts_of(report),
                }
            ],
        },
    }
