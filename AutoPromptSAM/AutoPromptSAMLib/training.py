"""An agent is trained in the worker from volumes with a segment each, or from a folder; its curves grow in the scene."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import slicer
from AdaptSAMLib import images, patients, segments
from AdaptSAMLib.engine import Engine
from AdaptSAMLib.job import Job
from slicer.i18n import tr as _

from AutoPromptSAMLib import inputs, parameters
from AutoPromptSAMLib.curves import Curves


class Training(Job):
    """Trains an agent, and goes on where a training of that name was stopped.

    Args:
        engine: AdaptSAMLib.engine.Engine.
        name: of the agent, its file and the structure that it will find.
        examples: tuples of a volume node, a segmentation node and a segment ID.
        folder: in place of examples; what `adaptsam train alignsam --data` takes.
        branch: "implicit" or "explicit".
        text: what CLIP is asked for, in the explicit branch.
        clip: a folder or a file; None for the bundled one.
        count: slices to learn from at most, drawn at random; 0 for all.
        window: of intensities: a name of `adaptsam`, or two numbers.
        settings: of `adaptsam.alignsam`, by dotted names; the reduced schedule by default, and {} is the paper's.
        checkpoint, device: as for a run.
        anew: forget a training of that name that was stopped.
        overwrite: replace an agent of that name.
        onProgress, onEnd: see AdaptSAMLib.job.Job.
        onEpisode: called with all episodes so far: dictionaries with "mean_return", "iou" after each step, losses.

    Attributes:
        curves: AutoPromptSAMLib.curves.Curves.
        agent: the description of the agent, when it is there.
        warnings: sentences against what it was made from, as fewer than ten slices.
    """

    stages = {
        "encode": _("Encoding slice {done} of {total}"),
        "train": _("Episode {done} of {total}"),
        "looking through volumes": _("Looking through the images"),
    }

    def __init__(
        self,
        engine: Engine,
        name: str,
        examples: Sequence[tuple] = (),
        folder: str | None = None,
        branch: str = "implicit",
        text: str = "",
        clip: str | None = None,
        count: int = 50,
        window: str | tuple[float, float] = "auto",
        settings: dict | None = None,
        checkpoint: str | None = None,
        device: str = "auto",
        anew: bool = False,
        overwrite: bool = False,
        onProgress: Callable[[float, float | None, str], None] | None = None,
        onEnd: Callable[[str, str], None] | None = None,
        onEpisode: Callable[[list[dict]], None] | None = None,
    ) -> None:
        inputs.checkTraining(name, examples, folder, branch, text)
        super().__init__(engine, onProgress, onEnd)
        self.name = name.strip()
        self.curves = Curves(self.name)
        self.agent = None
        self.warnings: list[str] = []
        self._examples, self._onEpisode = list(examples), onEpisode
        self._content = {
            "name": self.name,
            "branch": branch,
            "text": text.strip(),
            "clip": (clip or "phantom_clip") if branch == "explicit" else None,
            "images": count,
            "window": window,
            "settings": dict(parameters.reduced(count) if settings is None else settings),
            "checkpoint": checkpoint,
            "device": device,
            "anew": anew,
            "overwrite": overwrite,
        }
        if folder:
            self._content["folder"] = {"path": str(folder)}

    def _describe(self) -> Generator[None, None, tuple[str, dict]]:
        """One segment after the other."""
        volumes, kinds = [], set()
        for volume, segmentation, segmentId in self._examples:
            one = images.described(volume)
            one["mask"] = yield from segments.readingMask(segmentation, segmentId, volume)
            one |= {"title": volume.GetName(), "patient": self._patient(volume)}
            volumes.append(one)
            kinds.add(one["modality"])
            yield
        content = {**self._content, "volumes": volumes, "modality": kinds.pop() if len(kinds) == 1 else ""}
        if self._examples:
            _volume, segmentation, segmentId = self._examples[0]
            content["terminology"] = segments.terminology(segmentation.GetSegmentation().GetSegment(segmentId))
        return "train", content

    def _patient(self, volume: slicer.vtkMRMLVolumeNode) -> str:
        """Numbers of patients: volumes of one patient have the same, those of an unknown one their own."""
        for number, (other, _segmentation, _segmentId) in enumerate(self._examples):
            if other is volume or patients.samePatient(other, volume):
                return f"patient {number + 1}"
        raise ValueError("The volume is none of the examples.")

    def _said(self, event: dict) -> str:
        text = self.stages.get(event["stage"], event["stage"]).format(done=event["done"], total=event["total"])
        return f"{text}: {self.curves.summary}" if event["stage"] == "train" and self.curves.summary else text

    def _hear(self, event: dict) -> None:
        if event["event"] == "curve":
            self.made += self.curves.show(event["episodes"])
            self._tell(self._onEpisode, event["episodes"])
        elif event["event"] == "trained":
            self.agent, self.warnings = event["agent"], event.get("warnings", [])

    def _finish(self) -> None:
        self._end("done", "")
