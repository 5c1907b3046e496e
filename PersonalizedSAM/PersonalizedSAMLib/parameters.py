"""Parameters that the panel keeps with the scene, and the settings of `adaptsam` that follow from them."""

from typing import Annotated

from slicer import vtkMRMLNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLVectorVolumeNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

WINDOWS = ("auto", "anatomy", "papers", "lung", "soft tissue", "liver", "brain", "bone", "percentiles")
REGISTRATIONS = ("deformable", "rigid", "off")
PAIRINGS = ("registered", "position")


@parameterNodeWrapper
class PersonalizedSAMParameterNode:
    """Every choice of the panel.

    priorVolume, priorSegmentation, segments - what is carried; segments are IDs.
    targets - volumes and sequences it is carried to.
    model - "" for the bundled model, a name of `adaptsam weights list`, or a file.
    backgroundParts - 0 for as many as foreground parts.
    output - "new", or "replace" for a result that takes the place of the last one.
    """

    priorVolume: vtkMRMLScalarVolumeNode | vtkMRMLVectorVolumeNode | None
    priorSegmentation: vtkMRMLSegmentationNode
    segments: list[str]
    targets: list[vtkMRMLNode]
    model: str = ""
    device: str = "auto"
    parts: Annotated[int, WithinRange(1, 10)] = 4
    backgroundParts: Annotated[int, WithinRange(0, 10)] = 0
    pairing: str = "registered"
    registration: str = "deformable"
    window: str = "auto"
    locationPrior: bool = True
    acceptance: bool = True
    followReach: Annotated[int, WithinRange(1, 20)] = 3
    output: str = "new"


def settingsOf(parameters: PersonalizedSAMParameterNode) -> dict:
    """The settings that differ from `adaptsam`'s defaults, by dotted names."""
    settings: dict = {}
    if parameters.parts != 4:
        settings["p2sam.positives"] = [1, parameters.parts]
    if parameters.backgroundParts:
        settings["p2sam.negatives"] = [parameters.backgroundParts, parameters.backgroundParts]
    for name, value, default in (
        ("pairing", parameters.pairing, "registered"),
        ("register", parameters.registration, "deformable"),
        ("window", parameters.window, "auto"),
    ):
        if value != default:
            settings[name] = value
    if not parameters.locationPrior:
        settings["location_prior"] = False
        settings["fusion"] = "off"
    if not parameters.acceptance:
        settings["acceptance"] = "off"
    return settings
