"""Files of ``torch.save``, read without running anything that they ask for."""

from __future__ import annotations

import warnings
import zipfile
from io import BytesIO
from pathlib import Path

import torch


def load_pickled(path: Path | BytesIO, *, mapped: bool = False) -> object:
    """Load tensors, numbers, texts and containers of them onto the CPU.

    Args:
        path: the file, or what was in it.
        mapped: leave the numbers in the file, which must then not be replaced while they are in use.

    Raises:
        Exception: whatever the broken bytes lead PyTorch to; ``pickle.UnpicklingError`` where code is requested.
    """
    zipped = zipfile.is_zipfile(path)
    if zipped:
        _check_unpacked(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(path, BytesIO):
            path.seek(0)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipped)


def is_whole(tensor: torch.Tensor) -> bool:
    """Whether all numbers of a tensor, of any shape, are in the file; a view of one can claim any size."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_complex() or tensor.is_quantized:
        return False
    return tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()


def _check_unpacked(path: Path | BytesIO) -> None:
    """PyTorch packs nothing in its archives; what is packed could be of any size."""
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise zipfile.BadZipFile
