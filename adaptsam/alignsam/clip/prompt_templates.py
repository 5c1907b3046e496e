"""Prompt ensembles: the sentences around a name whose text features are averaged."""

from __future__ import annotations

from adaptsam.alignsam.clip.open_clip_library import open_clip
from adaptsam.errors import InputError

_SCANS = {
    "ct": ("a CT scan", "a CT slice", "an axial CT image", "a computed tomography image"),
    "mr": ("an MRI scan", "an MR slice", "an MR image", "a magnetic resonance image"),
    "pet": ("a PET scan", "a PET slice", "a PET image", "a positron emission tomography image"),
    "x-ray": ("an X-ray", "a radiograph", "a plain film", "an X-ray image"),
    "ultrasound": ("an ultrasound image", "an ultrasound scan", "a sonogram", "a B-mode image"),
    "endoscopy": ("an endoscopic image", "an endoscopy frame", "a colonoscopy frame", "a frame of an endoscopic video"),
    "pathology": ("a histopathology image", "an H&E stained slide", "a microscopy image", "a pathology slide"),
    "medical": ("a medical image", "a medical scan", "a radiology image", "a clinical image"),
}
_PHRASES = ("{scan} of the {name}", "{scan} showing the {name}", "the {name} in {scan}", "{name} on {scan}")

# What the reference adds to the sentences of OpenAI's ImageNet evaluation.
_SCENES = ("there is a", "there is the", "this is a", "this is the", "this is one")

MODALITIES = ("natural", "none", *_SCANS)
"""What :func:`templates_for` knows: "natural" is the reference's ensemble, "none" the bare prompt."""


def templates_for(modality: str) -> tuple[str, ...]:
    """The sentences for images of a kind, each with one ``{}`` for the prompt.

    Raises:
        InputError: the modality is not one of :data:`MODALITIES`, or open_clip, which has the natural ones, is missing.
    """
    if modality == "none":
        return ("{}",)
    if modality == "natural":
        imagenet = tuple(template("{}") for template in open_clip().OPENAI_IMAGENET_TEMPLATES)
        return imagenet + tuple(f"{start} {{}} in the scene." for start in _SCENES)
    if modality not in _SCANS:
        raise InputError(f"There are no prompt templates for {modality!r}; use one of {', '.join(MODALITIES)}.")
    filled = (phrase.format(scan=scan, name="{}") for phrase in _PHRASES for scan in _SCANS[modality])
    return ("{}", "the {}", *filled)
