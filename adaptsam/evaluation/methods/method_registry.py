"""Methods by the names of the command line, one at a time or a table's rows together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from adaptsam import alignsam
from adaptsam.errors import InputError
from adaptsam.evaluation.methods.alignsam_rows import AlignSam
from adaptsam.evaluation.methods.ants_syn import Syn
from adaptsam.evaluation.methods.evaluated_method import Method, Unavailable
from adaptsam.evaluation.methods.finetuned_rows import FineTunedOnPrior, Schedule, TrainedModel
from adaptsam.evaluation.methods.matcher import Matcher
from adaptsam.evaluation.methods.observers import AnotherObserver
from adaptsam.evaluation.methods.p2sam_rows import DirectTransfer, P2Sam, PerSam, PropagatedP2Sam
from adaptsam.evaluation.methods.panet import PaNet
from adaptsam.evaluation.methods.persam_f import PerSamF
from adaptsam.evaluation.methods.registration_rows import Copied, DeformableRegistration, Elastix, RigidRegistration
from adaptsam.evaluation.methods.seggpt import SegGpt
from adaptsam.p2sam import RELEASED_LUNG, RELEASED_POLYP, ablation_settings
from adaptsam.propagation.volume_propagation import PropagationSettings


@dataclass(frozen=True)
class Extras:
    """Extra inputs of some methods.

    Attributes:
        propagation: of "p2sam" in volumes.
        seggpt: the folder of SegGPT's weights.
        epochs: of SAMed, Medical SAM Adapter and the fine-tuning on the prior; None for their own.
        alignsam: AlignSAM's settings, of which the ablations are made.
        text: the text prompt of its explicit branch.
        clip: the CLIP for it; None leaves the rows of that branch empty.

    Raises :class:`InputError` for a training of no epoch.
    """

    propagation: PropagationSettings = field(default_factory=PropagationSettings)
    seggpt: Path | None = None
    epochs: int | None = None
    alignsam: alignsam.AlignSamSettings = field(default_factory=alignsam.AlignSamSettings)
    text: str = ""
    clip: str | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.epochs < 1:
            raise InputError(f"Methods that train SAM need at least one epoch, not {self.epochs}.")


Maker = Callable[[Extras], Method]

#: Settings of the training on a protocol's 50 images; the papers that compare with them name none.
_ADAPTED = Schedule(epochs=20, learning_rate=5e-4)

_PAINTER = (
    "Painter's weights (BAAI/Painter, painter_vit_large.pth) and code are published for images of 448 pixels with "
    "detectron2; no kept library reads them."
)
_SEEM = (
    "SEEM's weights (seem_focall_v0.pt) and code (UX-Decoder/Segment-Everything-Everywhere-All-At-Once) need "
    "detectron2 and its compiled deformable attention; no kept library reads them."
)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("w/o", "no").replace("w/", "with")).strip("-")


def _p2sam_rows() -> dict[str, Maker]:
    """Tables 4 and 5 of P²SAM; Table 6 is the default and PerSAM's row with other checkpoints."""
    rows: dict[str, Maker] = {}
    for (table, row), settings in ablation_settings().items():
        if table in (4, 5):
            name = f"p2sam-t{table}-{_slug(row)}"
            rows[name] = lambda extras, n=name, r=row, s=settings: P2Sam(n, f"P²SAM, {r}", s)  # type: ignore[misc]
    return rows


def _alignsam_rows() -> dict[str, Maker]:
    rows: dict[str, Maker] = {}
    for key in alignsam.ablation_settings():
        name = "alignsam" if key[1] == "Ours" else f"alignsam-{_slug(key[1])}"
        title = "AlignSAM" if key[1] == "Ours" else f"AlignSAM, {key[1]}"

        def make(extras: Extras, n: str = name, t: str = title, k: tuple[int, str] = key) -> Method:
            return AlignSam(n, t, alignsam.ablation_settings(extras.alignsam)[k], (extras.text, extras.clip))

        rows[name] = make
    return rows


def _schedule(base: Schedule, method: str, extras: Extras) -> Schedule:
    return replace(base, method=method, epochs=extras.epochs or base.epochs)


MAKERS: dict[str, Maker] = {
    "p2sam": lambda extras: PropagatedP2Sam("p2sam", "P²SAM", extras.propagation),
    "p2sam-plain": lambda extras: PropagatedP2Sam(
        "p2sam-plain", "P²SAM without fusion", replace(extras.propagation, fusion="off", register="rigid")
    ),
    "p2sam-slices": lambda extras: P2Sam("p2sam-slices", "P²SAM slice by slice", extras.propagation.p2sam),
    "p2sam-released-lung": lambda extras: P2Sam("p2sam-released-lung", "P²SAM, released for lung", RELEASED_LUNG),
    "p2sam-released-polyp": lambda extras: P2Sam("p2sam-released-polyp", "P²SAM, released for polyps", RELEASED_POLYP),
    "persam": lambda extras: PerSam(),
    "persam-half": lambda extras: PerSam("half"),
    "persam-f": lambda extras: PerSamF(),
    "persam-f-half": lambda extras: PerSamF(coverage="half"),
    "matcher": lambda extras: Matcher(),
    "panet": lambda extras: PaNet(),
    "direct-transfer": lambda extras: DirectTransfer(),
    "fine-tune": lambda extras: FineTunedOnPrior(_schedule(Schedule(), "full", extras)),
    "samed": lambda extras: TrainedModel("samed", "SAMed", _schedule(_ADAPTED, "samed", extras)),
    "medical-sam-adapter": lambda extras: TrainedModel(
        "medical-sam-adapter", "Medical SAM Adapter", _schedule(_ADAPTED, "adapter", extras)
    ),
    "seggpt": lambda extras: SegGpt(extras.seggpt),
    "painter": lambda extras: Unavailable("painter", "Painter", _PAINTER),
    "seem": lambda extras: Unavailable("seem", "SEEM", _SEEM),
    "observer": lambda extras: AnotherObserver(),
    "copied": lambda extras: Copied(),
    "rigid": lambda extras: RigidRegistration(),
    "registration": lambda extras: DeformableRegistration(),
    "elastix": lambda extras: Elastix(),
    "syn": lambda extras: Syn(),
    **_p2sam_rows(),
    **_alignsam_rows(),
}

GROUPS: dict[str, tuple[str, ...]] = {
    "clinic": ("copied", "rigid", "registration", "elastix", "syn"),
    "rivals": ("persam", "persam-f", "matcher", "panet", "direct-transfer", "fine-tune", "seggpt", "painter", "seem"),
    "table4": tuple(name for name in MAKERS if name.startswith("p2sam-t4")),
    "table5": tuple(name for name in MAKERS if name.startswith("p2sam-t5")),
    "alignsam-table2": (
        "samed",
        "seem",
        "painter",
        "persam",
        "alignsam",
        *(f"alignsam-no-{x}" for x in ("rl", "srm", "msi")),
    ),
    "alignsam-table4": ("alignsam-implicit-branch", "alignsam-explicit-branch"),
    "alignsam-table5": tuple(f"alignsam-t-{steps}" for steps in (1, 5, 10, 15, 20)),
}
GROUPS["all"] = (
    "p2sam",
    "p2sam-plain",
    "p2sam-slices",
    *GROUPS["rivals"],
    "samed",
    "medical-sam-adapter",
    "alignsam",
    *GROUPS["clinic"],
)
"""Names that stand for several methods."""


def method_names() -> tuple[str, ...]:
    """Every single method."""
    return tuple(MAKERS)


def make_methods(names: Sequence[str], extras: Extras | None = None) -> list[Method]:
    """The methods of these names or groups, in this order, each once.

    Raises:
        InputError: a name is unknown, or there is none.
    """
    wanted: list[str] = []
    for name in names:
        if name not in MAKERS and name not in GROUPS:
            near = get_close_matches(name, [*MAKERS, *GROUPS], n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InputError(f"There is no method {name!r}; known are {', '.join([*GROUPS, *MAKERS])}.{hint}")
        wanted += GROUPS.get(name, (name,))
    if not wanted:
        raise InputError("No method was given; give at least one.")
    return [MAKERS[name](extras or Extras()) for name in dict.fromkeys(wanted)]
