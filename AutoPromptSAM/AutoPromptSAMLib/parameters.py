"""Parameters that the panel keeps with the scene, and the settings of `adaptsam` that follow from them."""

from typing import Annotated

from slicer import vtkMRMLMarkupsROINode, vtkMRMLNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

#: So many slices are prompted in a reduced training, over all its episodes; in the paper's 2,500.
PROMPTED = 300


@parameterNodeWrapper
class AutoPromptSAMParameterNode:
    """Every choice of the panel.

    targets - volumes and sequences that are looked at.
    agents - files of the agents that are used.
    text - for agents of the explicit branch, in place of their own.
    roi, firstSlice, lastSlice - where targets may be; a last slice of -1 is the last there is.
    steps - T, the points after the first pair; 0 for as many as each agent was trained with.
    model - "" for the bundled model, a name of `adaptsam weights list`, or a file.
    clip - "" for the bundled CLIP, or a folder or file of weights.
    trainSegment, trainVolumes, trainSegmentations - what an own agent learns from: a structure, and where it is outlined.
    trainFolder - in place of them.
    trainName, trainBranch, trainText, trainImages, trainSchedule, trainWindow, trainAbsence - how.
    """

    targets: list[vtkMRMLNode]
    agents: list[str]
    text: str = ""
    roi: vtkMRMLMarkupsROINode
    firstSlice: Annotated[int, WithinRange(0, 99999)] = 0
    lastSlice: Annotated[int, WithinRange(-1, 99999)] = -1
    steps: Annotated[int, WithinRange(0, 100)] = 0
    stopEarly: bool = False
    acceptance: bool = True
    model: str = ""
    device: str = "auto"
    clip: str = ""
    trainSegment: str = ""
    trainVolumes: list[vtkMRMLNode]
    trainSegmentations: list[vtkMRMLNode]
    trainFolder: str = ""
    trainName: str = ""
    trainBranch: str = "implicit"
    trainText: str = ""
    trainImages: Annotated[int, WithinRange(0, 99999)] = 50
    trainSchedule: str = "reduced"
    trainWindow: str = "auto"
    trainAbsence: bool = False


def settingsOf(parameters: AutoPromptSAMParameterNode) -> dict:
    """The settings that differ from `adaptsam`'s defaults, by dotted names."""
    settings: dict = {}
    if parameters.steps:
        settings["use.steps"] = parameters.steps
    if parameters.stopEarly:
        settings["use.stop_early"] = True
    if not parameters.acceptance:
        settings["acceptance"] = "off"
    return settings


def reduced(count: int) -> dict:
    """A schedule that takes minutes, as settings of `adaptsam.alignsam`, whose defaults are the paper's.

    The fewer slices there are to learn from, the more often each is prompted. ``count`` is 0 for all.
    """
    episodes = max(6, round(PROMPTED / count)) if count else 6
    return {"training.episodes": episodes, "training.epochs": 10, "training.learning_rate": 3e-4}


def trainingOf(parameters: AutoPromptSAMParameterNode) -> dict:
    """The settings of a training that differ from `adaptsam`'s defaults, by dotted names."""
    settings = {} if parameters.trainSchedule == "published" else reduced(parameters.trainImages)
    if parameters.trainAbsence:
        settings["training.learn_absence"] = True
    return settings


def slicesOf(parameters: AutoPromptSAMParameterNode) -> tuple[int, int] | None:
    """First and last slice, or None for all."""
    whole = parameters.firstSlice == 0 and parameters.lastSlice == -1
    return None if whole else (parameters.firstSlice, parameters.lastSlice)
