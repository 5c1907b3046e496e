"""Memory of this machine, and the need of a model, compared before the work starts."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from adaptsam.errors import InputError
from adaptsam.sam import Precision
from adaptsam.sam.checkpoint_recognition import KINDS
from adaptsam.sam.int8_quantisation import int8_possible
from adaptsam.sam.sam_model import automatic_precision

_GB = 1e9

#: What follows a device's name where the image encoder is to compute in 8-bit integers there.
INT8 = ":int8"

#: Beside the weights: the interpreter with its libraries, registration, and one pass of the encoder.
_BESIDE = {"small": 0.6 * _GB, "large": 2.0 * _GB}

#: A checkpoint above this size is a SAM at 1024 pixels.
_SMALL_FILE = 30e6


def devices() -> list[dict[str, object]]:
    """The devices of this machine, the best first: ``name``, ``label`` for people, ``free`` and ``total`` in bytes.

    Where 8-bit integers are possible, the CPU is there twice: "cpu:int8" requests them.
    """
    found: list[dict[str, object]] = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            label = torch.cuda.get_device_name(number)
            found.append({"name": f"cuda:{number}", "label": label, "free": free, "total": total})
    memory = psutil.virtual_memory()
    if torch.backends.mps.is_available():
        found.append({"name": "mps", "label": "Apple GPU", "free": memory.available, "total": memory.total})
    sizes = {"free": memory.available, "total": memory.total}
    if int8_possible():
        found.append({"name": f"cpu{INT8}", "label": "CPU in 8 bits, faster", **sizes})
    return [*found, {"name": "cpu", "label": "CPU", **sizes}]


def device_and_precision(name: str) -> tuple[str, Precision]:
    """The meaning of a name of :func:`devices` for :func:`adaptsam.sam.load_sam`."""
    return (name.removesuffix(INT8), "int8") if name.endswith(INT8) else (name, "auto")


def precisions(kind: str) -> dict[str, str]:
    """Precision of the image encoder of that kind of model on each of :func:`devices`, by its name."""
    named = {str(one["name"]): device_and_precision(str(one["name"])) for one in devices()}
    return {
        name: str(automatic_precision(torch.device(place), KINDS[kind])).removeprefix("torch.")
        if precision == "auto"
        else precision
        for name, (place, precision) in named.items()
    }


def needed_bytes(checkpoint: Path, images_bytes: int = 0) -> int:
    """About what a run takes: the file read twice over, what is beside it, and the images as floats."""
    size = checkpoint.stat().st_size
    return int(3 * size + _BESIDE["small" if size < _SMALL_FILE else "large"] + images_bytes)


def check_memory(device: str, needed: int) -> None:
    """Raise InputError if a device has clearly too little free memory."""
    known = devices()
    plain = [one for one in known if not str(one["name"]).endswith(INT8)]
    asked = plain[0] if device == "auto" else next((one for one in known if one["name"] == device), known[-1])
    free = int(str(asked["free"]))
    if needed > free:
        raise InputError(
            f"This model needs about {needed / _GB:.1f} GB and {asked['label']} has {free / _GB:.1f} GB free; "
            "choose a smaller model or another device, or close other programs."
        )
