"""AutoPromptSAM in 3D Slicer: trained agents find their targets without a click. The method is in `adaptsam`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import slicer.util
from AdaptSAMLib import images
from AdaptSAMLib.engine import Engine, elsewhere
from AdaptSAMLib.geometry import InputProblem
from AdaptSAMLib.logic import DEPENDENCIES, BaseLogic, BaseTest, link
from AdaptSAMLib.results import Outcome
from AdaptSAMLib.run import BaseRun
from AutoPromptSAMLib import inputs
from AutoPromptSAMLib.panel import Panel
from AutoPromptSAMLib.parameters import AutoPromptSAMParameterNode
from AutoPromptSAMLib.replay import Replay
from AutoPromptSAMLib.run import Run
from AutoPromptSAMLib.training import Training
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule


class AutoPromptSAM(ScriptedLoadableModule):
    """Title, category and help of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "AutoPromptSAM"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["PersonalizedSAM", *DEPENDENCIES]
        parent.contributors = ["AdaptSAM's authors"]
        parent.helpText = _(
            "Finds the targets that agents were trained for with the Segment Anything Model; nobody clicks, and every step can be watched and changed. "
            "Agents are your own, for a structure that no model knows; none comes along, because none beat simpler ways on real scans. "
            "For lungs take a threshold, for common organs a model that knows them. "
            "For research use only: nothing that comes out of it is approved by a clinician."
        ) + link("autoprompt")
        parent.acknowledgementText = _(
            "After D. Huang and others, AlignSAM: Aligning Segment Anything Model to Open Context via Reinforcement Learning, CVPR 2024."
        )


class AutoPromptSAMWidget(Panel):
    """The panel, with this module's logic."""

    def makeLogic(self) -> AutoPromptSAMLogic:
        return AutoPromptSAMLogic()


class AutoPromptSAMLogic(BaseLogic):
    """Logic for scripts: ``slicer.util.getModuleLogic("AutoPromptSAM").segment([volume], ["heart"])``."""

    parameters = AutoPromptSAMParameterNode

    def agents(self, files: Iterable[str] = ()) -> list:
        """Descriptions of the agents where the worker runs, and in files.

        Of this computer they are read from the heads of their files; of another machine its worker tells them, which is
        waited for with the window alive.
        """
        named = [str(one) for one in files]
        if elsewhere():
            return self._agentsElsewhere(named)
        from adaptsam.alignsam.agent_listing import list_agents

        return list_agents(named)

    @staticmethod
    def _agentsElsewhere(files: list) -> list:
        found = []

        def handle(event: dict) -> None:
            if event["event"] == "agents":
                found.extend(event["agents"])
            elif event["event"] in ("error", "lost"):
                found.append(event["message"])

        engine = Engine.shared()
        engine.waitFor(engine.request("agents", handle, files=files))
        if found and isinstance(found[-1], str):
            raise InputProblem(found[-1])
        return found

    def segment(
        self,
        targets: slicer.vtkMRMLNode | Sequence[slicer.vtkMRMLNode],
        agents: Sequence[str | dict] | None = None,
        *,
        wait: bool = True,
        allowOtherModality: bool = False,
        **how: Any,
    ) -> Run:
        """Find the targets of agents in images.

        Args:
            targets: a volume node, or a list of volume nodes and sequence nodes of volumes.
            agents: names, files or descriptions (see :meth:`agents`); all that are on this machine by default.
            wait: return when it is done (the window stays alive), or at once.
            allowOtherModality: go on although an agent was trained on another modality.
            roi: vtkMRMLMarkupsROINode; nothing is found outside of it.
            slices: first and last slice along k, both included; -1 as the last is the last there is.
            text: for agents of the explicit branch, in place of their own.
            settings: of `adaptsam.autoprompt`, by dotted names: {"use.steps": 5, "use.stop_early": True}.
            checkpoint: a file, a name of `adaptsam weights list`, or None for the bundled model.
            device: "auto" (the default), "cpu", "cuda", ….
            clip: for agents of the explicit branch: a folder or a file of weights; None for the bundled one.
            onProgress: called with the share done, seconds to go or None, and a text.
            onOutcome: called with each finished target, an AdaptSAMLib.results.Outcome.
            onEnd: called with "done", "cancelled" or "error", and a sentence.

        Returns:
            An AutoPromptSAMLib.run.Run; its ``outcomes`` hold segmentation nodes and reports, ``cancel()`` stops it.

        Raises:
            InputProblem: something cannot be used; the message says what and what to do. Cancelling gives no error.
        """
        targets = images.listed(targets)
        chosen = self._chosen(agents)
        question = inputs.question(targets, chosen)
        if question and allowOtherModality:
            how["settings"] = {"novelty": False, **(how.get("settings") or {})}
        run = Run(Engine.shared(), targets, chosen, **how)
        if question and not allowOtherModality:
            raise InputProblem(question + " " + _("Say so with allowOtherModality."))
        return self.start(run, wait)

    def train(
        self,
        name: str,
        volumes: slicer.vtkMRMLVolumeNode | Sequence[slicer.vtkMRMLVolumeNode] = (),
        segmentations: slicer.vtkMRMLSegmentationNode | Sequence[slicer.vtkMRMLSegmentationNode] = (),
        segment: str = "",
        *,
        wait: bool = True,
        **how: Any,
    ) -> Training:
        """Train an agent; it goes on where a training of that name was stopped, and can then be used by its name.

        Args:
            name: of the agent, and of the structure that it will find.
            volumes: volume nodes; or one.
            segmentations: of each volume, the node in which the structure is outlined; or one.
            segment: the structure's name there.
            wait: return when it is done (the window stays alive), or at once.
            folder: in place of volumes: images and masks, as `adaptsam train alignsam --data` takes them.
            branch: "implicit", or "explicit" with a text that CLIP shall look for.
            text, clip: for the explicit branch; the bundled CLIP by default.
            count: slices to learn from at most, drawn at random; 0 for all.
            window: of intensities: a name, such as "lung", or two numbers.
            settings: of `adaptsam.alignsam`, by dotted names: {"training.episodes": 20}; {} for the paper's schedule. By
                default a reduced one that takes minutes.
            checkpoint, device: as for :meth:`segment`.
            anew: forget a training of that name that was stopped.
            overwrite: replace an agent of that name.
            onProgress: called with the share done, seconds to go or None, and a text.
            onEpisode: called with all episodes so far.
            onEnd: called with "done", "cancelled" or "error", and a sentence.

        Returns:
            An AutoPromptSAMLib.training.Training; its ``agent`` describes what came out, ``cancel()`` stops it.

        Raises:
            InputProblem: something cannot be used; the message says what and what to do.
        """
        examples = inputs.examples(images.listed(volumes), images.listed(segmentations), segment)
        training = self.startTraining(name, examples, **how)
        return training.wait() if wait else training

    def startTraining(self, name: str, examples: Sequence[tuple], **how: Any) -> Training:
        """A training with the arguments of AutoPromptSAMLib.training.Training, begun."""
        return self.start(Training(Engine.shared(), name, examples, **how), wait=False)

    def replay(self, run: BaseRun, outcome: Outcome, segment: str) -> Replay:
        """Replay of an agent's steps; see AutoPromptSAMLib.replay.Replay."""
        return Replay(Engine.shared(), run, outcome, segment)

    def useAsPrior(self, run: BaseRun, outcome: Outcome) -> Any:
        """A finished target as the prior of PersonalizedSAM, with the patient's later images as its targets.

        Returns:
            PersonalizedSAM's parameter node.
        """
        return slicer.util.getModuleLogic("PersonalizedSAM").useAsPrior(run, outcome)

    def _chosen(self, agents: Sequence[str | dict] | None) -> list:
        if agents is None:
            return [one for one in self.agents() if not one["problem"]]
        if all(isinstance(one, dict) for one in agents):
            return list(agents)
        import os

        wanted = [str(one) for one in agents]
        known = self.agents([one for one in wanted if os.path.isfile(one)])
        byName = {one["name"]: one for one in known} | {one["path"]: one for one in known}
        for one in wanted:
            if one not in byName:
                names = ", ".join(entry["name"] for entry in known) or _("none yet")
                raise InputProblem(_("There is no agent {name}; there are {known}.").format(name=one, known=names))
        return [byName[one] for one in wanted]


class AutoPromptSAMTest(BaseTest):
    """Reload and Test runs what CTest runs."""

    def cases(self) -> type:
        from AutoPromptSAMLib.selftest import AutoPromptSAMTests

        return AutoPromptSAMTests
