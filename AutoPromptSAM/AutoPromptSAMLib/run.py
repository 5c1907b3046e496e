"""A run of AutoPromptSAM: agents find their targets in images, and everything that they did is kept for the replay."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import slicer
from AdaptSAMLib import images, tables
from AdaptSAMLib.engine import Engine
from AdaptSAMLib.run import BaseRun
from slicer.i18n import tr as _

from AutoPromptSAMLib import inputs


class Run(BaseRun):
    """Lets agents find their targets, in the worker.

    Args:
        engine: AdaptSAMLib.engine.Engine.
        targets: volume nodes and sequence nodes.
        agents: descriptions, as the worker gives them.
        roi: vtkMRMLMarkupsROINode that bounds the result, or None.
        slices: first and last slice along k, both included, or None for all; a last one of -1 is the last there is.
        text: for agents of the explicit branch, in place of their own; "" for their own.
        clip: for agents of the explicit branch: a folder or a file; None for the bundled one, where they were trained
            with that.
        how: settings, checkpoint, device and callbacks of AdaptSAMLib.run.BaseRun.

    Attributes:
        played: (target's key, segment ID) to slice index to what the agent did there, as the worker tells it.
    """

    stages = {"prompt": _("{title}: slice {done} of {total}")}

    def __init__(
        self,
        engine: Engine,
        targets: Sequence[slicer.vtkMRMLNode],
        agents: Sequence[dict],
        roi: slicer.vtkMRMLMarkupsROINode | None = None,
        slices: tuple[int, int] | None = None,
        text: str = "",
        clip: str | None = None,
        **how: Any,
    ) -> None:
        inputs.check(targets, agents)
        names = {one["target"]["name"]: one["target"]["name"] for one in agents}
        prototypes = {one["target"]["name"]: _segment(one) for one in agents}
        title = _("Found")
        super().__init__(engine, images.expand(targets), title, names, prototypes, **how)
        self.played: dict = {}
        self._agents, self._roi, self._slices = list(agents), roi, slices
        self._texts = {one["target"]["name"]: text for one in agents if text and one["text"]}
        self._clip = clip

    def _describe(self) -> Generator[None, None, tuple[str, dict]]:
        """One image a step."""
        targets = []
        for one in self.targets:
            targets.append({**images.described(one.volumeNode), **self._bounds(one.volumeNode), "key": one.key})
            yield
        agents = {"agents": [one["path"] for one in self._agents], "texts": self._texts, "clip": self._clip}
        return "autoprompt", {**self._content(targets), **agents}

    def _bounds(self, volumeNode: slicer.vtkMRMLVolumeNode) -> dict:
        bounds = {}
        if self._roi is not None:
            bounds["box"] = inputs.box(self._roi, volumeNode)
        if self._slices is not None:
            first, last = self._slices
            bounds["slices"] = [first, volumeNode.GetImageData().GetDimensions()[2] - 1 if last == -1 else last]
        return bounds

    def _show(self, event: dict) -> Iterator:
        key = self.targets[event["target"]].key
        for one in event["slices"]:
            self.keep(key, one)
        return super()._show(event)

    def keep(self, key: str, played: dict) -> None:
        """Keep what an agent did on a slice, in place of what it did before."""
        self.played.setdefault((key, played["structure"]), {})[played["index"]] = played

    def _summarise(self) -> None:
        title = _("Found by agents")
        self.made.append(tables.makeTable(self.outcomes, self.names, title, prior=False))
        if len(self.outcomes) > 1:
            colors = {key: one.GetColor() for key, one in self._prototypes.items()}
            self.made += tables.makePlot(self.outcomes, self.names, colors, title + ": " + _("volumes"))


def _segment(agent: dict) -> slicer.vtkSegment:
    """A segment with the name, colour and terminology of an agent's target."""
    segment = slicer.vtkSegment()
    segment.SetName(agent["target"]["name"])
    segment.SetColor(*(value / 255 for value in agent["color"]))
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), agent["terminology"])
    return segment
