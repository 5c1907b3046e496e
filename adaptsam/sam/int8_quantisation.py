"""The image encoder in 8-bit integers, for the CPU: faster, and almost the same embedding.

torchao keeps the weights of the linear layers in 8 bits, one scale for each output, and brings what they multiply to
8 bits as it comes, one scale for each position. Attention, norms and convolutions stay in float32.
"""

from __future__ import annotations

import copy
import importlib.util
import logging

import torch
from segment_anything.modeling import Sam

from adaptsam.errors import InputError


def int8_possible() -> bool:
    """Whether torchao is installed, and PyTorch has fast products of 8-bit integers for this machine."""
    try:
        check_int8()
    except InputError:
        return False
    return True


def check_int8() -> None:
    """Raise :class:`InputError` if torchao is not installed, or PyTorch has no fast products of 8-bit integers here."""
    if not torch.backends.mkldnn.is_available():
        raise InputError("PyTorch has no fast 8-bit products on this machine; leave out the precision int8.")
    if importlib.util.find_spec("torchao") is None:
        raise InputError('The precision int8 needs the extra "int8": pip install "adaptsam[int8]".')


def in_int8(sam: Sam) -> Sam:
    """A SAM whose image encoder multiplies 8-bit integers; all other tensors are shared with the one given.

    Raises:
        InputError: see :func:`check_int8`.
    """
    check_int8()
    # It warns about its own use of PyTorch when it is imported.
    noisy = logging.getLogger("torch.utils._pytree")
    before = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
        from torchao.utils import should_reduce_range
    finally:
        noisy.setLevel(before)
    shared = {id(tensor): tensor for tensor in (*sam.parameters(), *sam.buffers())}
    quantised = copy.deepcopy(sam, shared)
    # Without the instructions made for this, pairs of products would overflow 16 bits.
    narrow = should_reduce_range(torch.device("cpu"))
    config = Int8DynamicActivationInt8WeightConfig(reduce_range=narrow, set_inductor_config=False)
    with torch.no_grad():
        quantize_(quantised.image_encoder, config)
    return quantised
