"""Protocols by name: from a folder as it is downloaded to the cases and columns of its published table."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from adaptsam.errors import InputError
from adaptsam.evaluation.evaluation_cases import Study
from adaptsam.evaluation.protocols.medical_images import open_cvc, open_frames, open_kvasir, open_nsclc
from adaptsam.evaluation.protocols.natural_images import (
    open_coco_study,
    open_cuhk,
    open_duts,
    open_fss_study,
    open_lvis_study,
    open_msd,
    open_perseg_study,
    open_sbu,
    open_voc_study,
)
from adaptsam.evaluation.protocols.protocol_options import Options
from adaptsam.evaluation.protocols.whole_scans import (
    open_followups,
    open_followups_slices,
    open_four_d_lung,
    open_four_d_lung_volumes,
    open_own,
    open_phantom,
)

PROTOCOLS: dict[str, Callable[[Path | None, Options], Study]] = {
    "phantom": open_phantom,
    "followups": open_followups,
    "followups-slices": open_followups_slices,
    "own": open_own,
    "frames": open_frames,
    "4d-lung": open_four_d_lung,
    "4d-lung-volumes": open_four_d_lung_volumes,
    "cvc-clinicdb": open_cvc,
    "nsclc-radiomics": open_nsclc,
    "kvasir-seg": open_kvasir,
    "perseg": open_perseg_study,
    "fss-1000": open_fss_study,
    "coco-20i": open_coco_study,
    "lvis-92i": open_lvis_study,
    "cuhk": open_cuhk,
    "sbu": open_sbu,
    "msd": open_msd,
    "duts": open_duts,
    "voc": open_voc_study,
}


def open_protocol(name: str, data: Path | None, options: Options | None = None) -> Study:
    """The study of a protocol on some data.

    Raises:
        InputError: there is no such protocol, its data is missing or of another layout, or holds no case.
    """
    if name not in PROTOCOLS:
        near = get_close_matches(name, PROTOCOLS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(f"There is no protocol {name!r}; known are {', '.join(PROTOCOLS)}.{hint}")
    study = PROTOCOLS[name](data, options or Options())
    if not study.cases:
        why = "; ".join(f"{case}: {reason}" for case, reason in list(study.skipped.items())[:3])
        raise InputError(f"There is no case to evaluate{': ' + why if why else '.'}")
    return study


__all__ = ["PROTOCOLS", "Options", "open_protocol"]
