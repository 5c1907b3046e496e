"""Tuning methods by name: the parts of SAM that the two papers train, or compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Any

from segment_anything.modeling import Sam

from adaptsam.errors import InputError
from adaptsam.finetune.bottleneck_adapters import add_adapters
from adaptsam.finetune.lora import add_lora, has_lora, merge_lora


def _all(sam: Sam) -> None:
    sam.requires_grad_(True)


def _decoder_only(sam: Sam) -> None:
    for name, parameter in sam.named_parameters():
        parameter.requires_grad_(not name.startswith("image_encoder."))


def _samed(sam: Sam, rank: int = 4) -> None:
    """SAMed (Zhang and Liu, 2023): LoRA on query and value, decoder and prompt encoder whole, the rest frozen."""
    add_lora(sam, rank, parts="qv", encoder_ends=False)


METHODS: dict[str, Callable[..., None]] = {
    "full": _all,
    "lora": add_lora,
    "adapter": add_adapters,
    "samed": _samed,
    "decoder": _decoder_only,
}
"""P²SAM's full fine-tuning and LoRA (Sec. 3.3); Medical SAM Adapter and SAMed, which AlignSAM compares with; and the
prompt encoder and mask decoder alone."""

_OF_A_VIT = ("lora", "adapter", "samed")
_DROP_PATH = {"full": 0.1, "lora": 0.1}


@dataclass(frozen=True)
class Tuning:
    """A method with its settings.

    Args:
        method: a key of :data:`METHODS`.
        settings: of the method, such as ``{"rank": 4}``.
        drop_path: how often the last block's branches are left out for an image; the first block's never. By default
            0.1 for P²SAM's two, as the paper and its code have it, and 0 for the others. It means nothing in encoders
            that are no ViT.

    Raises:
        InputError: an unknown method, or a value of another kind.
    """

    method: str = "lora"
    settings: dict[str, Any] = field(default_factory=dict)
    drop_path: float | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            near = get_close_matches(str(self.method), METHODS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InputError(f"A tuning method is one of {', '.join(METHODS)}, not {self.method!r}.{hint}")
        if not isinstance(self.settings, Mapping):
            raise InputError(f'tuning_settings are given as {{"rank": 4}}, not {self.settings!r}.')
        if not isinstance(self.dropped, int | float) or not 0 <= self.dropped < 1:
            raise InputError(f"drop_path must be at least 0 and below 1, but is {self.drop_path}.")

    @property
    def dropped(self) -> float:
        return _DROP_PATH.get(self.method, 0.0) if self.drop_path is None else self.drop_path

    def apply(self, sam: Sam) -> None:
        """Add what the method adds, and set what is trained, in place.

        Raises:
            InputError: a setting that the method does not know or cannot use, or a model whose encoder is no ViT.
        """
        if self.method in _OF_A_VIT and not hasattr(sam.image_encoder, "blocks"):
            raise InputError(
                f"The tuning {self.method!r} needs a SAM with a ViT encoder (vit_b, vit_l, vit_h); MobileSAM and other "
                "encoders are trained with tuning=full or tuning=decoder."
            )
        try:
            METHODS[self.method](sam, **self.settings)
        except TypeError as error:
            raise InputError(f"The tuning method {self.method!r} cannot be set so: {error}.") from error

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "drop_path": self.dropped}


def merged(sam: Sam) -> bool:
    """Take LoRA's adapters into the weights, in place; whether a plain SAM came of it."""
    if has_lora(sam):
        merge_lora(sam)
    return not any(".adapter." in name for name, _ in sam.named_parameters())
