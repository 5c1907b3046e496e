"""One SAM, ready to use: images in, embeddings out; prompts in, masks out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from segment_anything.modeling import Sam

from adaptsam.errors import CheckpointError, InputError
from adaptsam.progress import Tick, unasked
from adaptsam.sam.architecture import SamConfig
from adaptsam.sam.batched_decoding import Decoded, decode
from adaptsam.sam.checkpoint import BUNDLED, bundled_checkpoint, read_checkpoint
from adaptsam.sam.cpu_precision import FEWEST_CHANNELS, bfloat16_is_fast
from adaptsam.sam.cpu_threads import one_thread
from adaptsam.sam.embedding import Embedding
from adaptsam.sam.former_model import FORMER_KIND, former_model
from adaptsam.sam.image_encoder import encode
from adaptsam.sam.int8_quantisation import check_int8, in_int8
from adaptsam.sam.preprocessing import prepare_image, prepare_mask
from adaptsam.sam.prompt_encoder import DecodeRequest
from adaptsam.sam.weights_catalogue import KnownWeights, catalogue, fetched, how_to_get
from adaptsam.storage.weight_hash import hash_weights

#: What the image encoder computes in. "auto" is bfloat16 on a GPU, and on a processor that multiplies it fast for
#: encoders as wide as ViT-B's; else float32. "int8" is for the CPU.
Precision = Literal["auto", "float32", "bfloat16", "int8"]

#: More images at once take more memory, and Python itself is shared by all.
_MOST_SIDE_BY_SIDE = 8


class SamModel:
    """A SAM with its shape, its origin and its device.

    The weights must not change while a model is in use: ``sha256`` names them in every store of embeddings. After
    training, build a new one with :meth:`from_sam`.

    Attributes:
        sam: the segment_anything model, in evaluation mode.
        config: its shape.
        kind: "vit_b", "vit_l", "vit_h", "vit_t", "medsam", or the name that a checkpoint of this project carries, such
            as "lite".
        sha256: of the file, or of the weights for a model that was never in a file.
        device: where it computes.
        precision: what the image encoder computes in: ``torch.float32``, ``torch.bfloat16`` or ``torch.int8``.
            Embeddings, and all that is made of them, are float32 always.

    Raises:
        InputError: there is no such device, or the precision is not to be had on it; see :data:`Precision`.
    """

    def __init__(
        self,
        sam: Sam,
        config: SamConfig,
        *,
        kind: str,
        sha256: str,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
    ) -> None:
        self.device = choose_device(device)
        self.precision = _choose_precision(precision, self.device, config)
        self.sam = (in_int8(sam) if self.precision == torch.int8 else sam).eval().to(self.device)
        self.config = config
        self.kind = kind
        self.sha256 = sha256

    @classmethod
    def from_sam(
        cls,
        sam: Sam,
        config: SamConfig,
        *,
        kind: str = "custom",
        device: str | torch.device = "auto",
        precision: Precision = "auto",
    ) -> SamModel:
        """A model around weights in memory, such as one that was just trained."""
        return cls(sam, config, kind=kind, sha256=hash_weights(sam), device=device, precision=precision)

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.config.image_size

    @property
    def grid_size(self) -> int:
        """Side of the grid of features."""
        return self.config.grid_size

    @property
    def side_by_side(self) -> int:
        """Number of images to work on at once: one a core for a small model on the CPU, else one."""
        if self.device.type != "cpu" or _is_wide(self.config):
            return 1
        return min(_MOST_SIDE_BY_SIDE, torch.get_num_threads())

    def threads(self) -> AbstractContextManager[None]:
        """Threads that suit the model, for a piece of work: one where it is small and on the CPU, else all."""
        return one_thread() if self.side_by_side > 1 else nullcontext()

    @property
    def embed_dim(self) -> int:
        """Channels of a feature."""
        return self.config.embed_dim

    def embed(self, images: Sequence[NDArray[np.uint8]], batch_size: int | None = None) -> list[Embedding]:
        """Encode images, every one of them. Use an :class:`EmbeddingStore` to never encode one twice.

        Args:
            images: uint8 (H, W, 3) in RGB order or (H, W) gray, of any sizes.
            batch_size: images in one pass; None for 1 on the CPU and 8 elsewhere.

        Returns:
            One embedding for each image, on the CPU.

        Raises:
            InputError: an image is not of 8-bit pixels or has another shape.
        """
        if batch_size is None:
            batch_size = 1 if self.device.type == "cpu" else 8
        if batch_size < 1:
            raise InputError(f"The batch size must be at least 1, not {batch_size}.")
        embeddings: list[Embedding] = []
        with self.threads():
            for start in range(0, len(images), batch_size):
                embeddings += self._embed_batch(images[start : start + batch_size])
        return embeddings

    def _embed_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Embedding]:
        prepared = [prepare_image(self.sam, image) for image in images]
        mixed = self.precision == torch.bfloat16
        with torch.no_grad(), torch.autocast(self.device.type, self.precision) if mixed else nullcontext():
            features = encode(self.sam.image_encoder, torch.stack([pixels for pixels, _ in prepared])).cpu()
        return [
            # A clone, so that keeping one embedding does not keep the batch.
            Embedding(one.clone() if len(features) > 1 else one, size, (image.shape[0], image.shape[1]))
            for one, (_, size), image in zip(features, prepared, images, strict=True)
        ]

    def decode(self, requests: Sequence[DecodeRequest], multimask: bool = False, tick: Tick = unasked) -> list[Decoded]:
        """Masks for prompts, many in one pass; see :func:`adaptsam.sam.batched_decoding.decode`."""
        with self.threads():
            return decode(self.sam, requests, multimask, tick=tick)

    def upscale(self, logits: torch.Tensor, embedding: Embedding) -> torch.Tensor:
        """Low-resolution logits (…, 4h, 4w) in the image's own pixels (…, H, W), as ``Sam.postprocess_masks``.

        Of a batch (B, n, 4h, 4w) the n maps are channels of one image; fewer axes are maps one by one. PyTorch's kernel
        for three channels rounds otherwise than for one.
        """
        with torch.no_grad():
            stack = logits if logits.ndim == 4 else logits.reshape(-1, 1, *logits.shape[-2:])
            upscaled = self.sam.postprocess_masks(stack, embedding.input_size, embedding.original_size)
        return upscaled.reshape(*logits.shape[:-2], *embedding.original_size)

    def frame_logits(self, logits: NDArray[np.float32], embedding: Embedding) -> torch.Tensor:
        """Logits (H, W) in an image's own pixels as the decoder takes a mask, (4h, 4w): the way back of ``upscale``."""
        stack = torch.from_numpy(np.ascontiguousarray(logits, np.float32))[None, None]
        sized = F.interpolate(stack, size=embedding.input_size, mode="bilinear", align_corners=False)
        bottom, right = (self.image_size - side for side in embedding.input_size)
        framed = F.pad(sized, (0, right, 0, bottom), value=float(logits.min(initial=0.0)))
        side = 4 * self.grid_size
        return F.interpolate(framed, size=(side, side), mode="bilinear", align_corners=False, antialias=True)[0, 0]

    def resize_mask(self, mask: NDArray[np.bool_]) -> torch.Tensor:
        """A mask (H, W) in the model's frame, float32 (1, 1, S, S); see :func:`~.preprocess.prepare_mask`."""
        return prepare_mask(mask, self.image_size)


def load_sam(
    path: str | PathLike[str] | None = None,
    device: str | torch.device = "auto",
    *,
    kind: str | None = None,
    reapply_lora: bool = False,
    precision: Precision = "auto",
) -> SamModel:
    """Read a checkpoint: Meta's, MobileSAM's, MedSAM's, P²SAM's authors' or this project's, told apart by its contents.

    Args:
        path: the file, a name from ``adaptsam weights list`` that was fetched, or "lite", the model that comes with
            AdaptSAM; None for that one.
        device: "auto", "cpu", "cuda", "cuda:1", "mps", ….
        kind: what the file is, where its contents cannot tell: "medsam" for MedSAM's weights in a file of your own.
        reapply_lora: apply LoRA adapters that lie beside the weights. The files of P²SAM's authors have them merged
            already; their test code applies them again, and so does this switch.
        precision: what the image encoder computes in; "int8", on the CPU, is faster and needs the extra ``int8``.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, or of an unknown kind; the name is not fetched yet.
        InputError: there is no such device, or the precision is not to be had on it.
    """
    if path is not None and not isinstance(path, str | PathLike):
        raise CheckpointError(f"A model is a SamModel or the path of a checkpoint, and no {type(path).__name__}.")
    chosen = choose_device(device)
    _check_precision(precision, chosen)
    file, named = _find(path)
    checkpoint = read_checkpoint(file, kind=kind or (named.kind if named else None), reapply_lora=reapply_lora)
    if named and named.fingerprint.sha256 not in (None, checkpoint.sha256):
        raise CheckpointError(f"The file of {named.name} in {file.parent} is damaged; {how_to_get(named)} again.")
    return SamModel(
        checkpoint.sam,
        checkpoint.config,
        kind=checkpoint.kind,
        sha256=checkpoint.sha256,
        device=chosen,
        precision=precision,
    )


def _find(path: str | PathLike[str] | None) -> tuple[Path, KnownWeights | None]:
    """The file, and its entry where it was requested by name. A file of that name goes first."""
    if path is None:
        return bundled_checkpoint(), None
    if not Path(path).exists() and str(path) in catalogue():
        return fetched(str(path)), catalogue()[str(path)]
    if not Path(path).exists() and str(path) in BUNDLED:
        return bundled_checkpoint(str(path)), None
    if not Path(path).exists() and str(path) == FORMER_KIND:
        raise CheckpointError(former_model("The name small stands for", "give lite, or no checkpoint"))
    return Path(path), None


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """The device of that name; "auto" takes a GPU if there is one.

    Raises:
        InputError: there is no such device on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"The device {str(device)!r} is not available here; use auto or cpu.") from error
    return chosen


def _check_precision(precision: Precision, device: torch.device) -> None:
    if precision not in get_args(Precision):
        raise InputError(f"The precision can be {', '.join(get_args(Precision))}, not {precision!r}.")
    if precision == "int8":
        if device.type != "cpu":
            raise InputError(f"The precision int8 is for the CPU, not for {device.type}; choose the device cpu.")
        check_int8()


def _choose_precision(precision: Precision, device: torch.device, config: SamConfig) -> torch.dtype:
    _check_precision(precision, device)
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}[precision]
    return automatic_precision(device, config)


def automatic_precision(device: torch.device, config: SamConfig) -> torch.dtype:
    """Precision that "auto" means for a model on a device: ``torch.float32`` or ``torch.bfloat16``."""
    if device.type != "cpu":
        return torch.bfloat16
    return torch.bfloat16 if _is_wide(config) and bfloat16_is_fast() else torch.float32


def _is_wide(config: SamConfig) -> bool:
    """Whether most of the encoder's time goes into products that are large enough to be shared among cores."""
    return config.tiny_vit is config.pyramid is None and config.encoder_dim >= FEWEST_CHANNELS
