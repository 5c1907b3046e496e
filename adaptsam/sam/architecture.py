"""The shapes of SAM: Meta's three sizes, MobileSAM's and this project's own."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from adaptsam.sam.efficientnet_pyramid import PYRAMID_STRIDE, EfficientNetPyramid, PyramidConfig
from adaptsam.sam.imagenet_weights import IMAGENET_MEAN, IMAGENET_STD
from adaptsam.sam.preprocessing import MinMaxSam
from adaptsam.sam.tiny_vit import STRIDE, TinyViT, TinyVitConfig

#: Of everything that is counted in a model; ViT-H has 5,120 channels somewhere.
_LARGEST = 65_536
SCALINGS = ("statistics", "min-max")


@dataclass(frozen=True)
class SamConfig:
    """Configuration of one SAM. Sizes are in pixels, patches or channels, pixel statistics for RGB 0 to 255.

    Attributes:
        scaling: "statistics", pixels less ``pixel_mean`` by ``pixel_std``; or "min-max", each image to 0..1 by itself,
            as MedSAM was trained.
        tiny_vit: the stages of a TinyViT encoder, as in MobileSAM; the other fields on the encoder, the windows and
            the global attention then mean nothing. None for SAM's own encoder.
        pyramid: what stands on an EfficientNet-Lite0 encoder, as in this project's own models; in the same way.
    """

    image_size: int = 1024
    patch_size: int = 16
    encoder_dim: int = 768
    encoder_depth: int = 12
    encoder_heads: int = 12
    global_attention: tuple[int, ...] = (2, 5, 8, 11)
    window_size: int = 14
    embed_dim: int = 256
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048
    mask_channels: int = 16
    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    scaling: str = "statistics"
    tiny_vit: TinyVitConfig | None = None
    pyramid: PyramidConfig | None = None

    @property
    def grid_size(self) -> int:
        """Patches along one side of the (square, padded) input."""
        return self.image_size // self.patch_size

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    def check(self, most_blocks: int) -> None:
        """Look whether such a model is of this world, before memory or time is spent on it.

        Args:
            most_blocks: of its encoder, such as the number of tensors that a file holds.

        Raises:
            TypeError: a size is no whole number.
            ValueError: a size is not positive, or beyond every model's.
        """
        stages, pyramid = self.tiny_vit, self.pyramid
        if stages is not None and not isinstance(stages, TinyVitConfig):
            raise TypeError("its TinyViT is not described")
        if pyramid is not None and not isinstance(pyramid, PyramidConfig):
            raise TypeError("its pyramid is not described")
        blocks = (self.encoder_depth,) if stages is None else stages.depths
        counts = () if stages is None else (*stages.dims, *stages.heads, *stages.windows)
        if pyramid is not None:
            blocks, counts = (pyramid.layers,), (pyramid.width, pyramid.heads)
        sizes = (
            *(
                self.image_size,
                self.patch_size,
                self.encoder_dim,
                self.encoder_heads,
                self.embed_dim,
                self.decoder_heads,
            ),
            *(self.decoder_mlp_dim, self.mask_channels, *blocks, *counts),
        )
        if any(type(size) is not int for size in (*sizes, *self.global_attention, self.window_size)):
            raise TypeError("a size is not a whole number")
        if min(sizes) < 1 or max(sizes) > _LARGEST or not 0 <= self.window_size <= _LARGEST:
            raise ValueError(f"a size is not between 1 and {_LARGEST}")
        if sum(blocks) > most_blocks or len(self.global_attention) > most_blocks:
            raise ValueError("it has more blocks than tensors")

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> SamConfig:
        """The inverse of :meth:`to_dict`, after JSON made lists of tuples.

        Raises:
            TypeError: a field is unknown.
            ValueError: the scaling is.
        """
        fields = _tuples(values)
        if isinstance(stages := fields.get("tiny_vit"), dict):
            fields["tiny_vit"] = TinyVitConfig(**_tuples(stages))  # type: ignore[arg-type]
        if isinstance(pyramid := fields.get("pyramid"), dict):
            fields["pyramid"] = PyramidConfig(**pyramid)
        config = cls(**fields)  # type: ignore[arg-type]
        if config.scaling not in SCALINGS:
            raise ValueError(f"the scaling is {str(config.scaling)[:40]!r}, known are {' and '.join(SCALINGS)}")
        return config


def _tuples(values: dict[str, object]) -> dict[str, object]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


VIT_B = SamConfig()
VIT_L = SamConfig(encoder_dim=1024, encoder_depth=24, encoder_heads=16, global_attention=(5, 11, 17, 23))
VIT_H = SamConfig(encoder_dim=1280, encoder_depth=32, encoder_heads=16, global_attention=(7, 15, 23, 31))
VIT_T = SamConfig(tiny_vit=TinyVitConfig(), patch_size=STRIDE)
MEDSAM = replace(VIT_B, scaling="min-max")
#: This project's bundled model: EfficientNet-Lite0 with a pyramid, trained on open data and phantoms.
LITE = SamConfig(
    image_size=256,
    patch_size=PYRAMID_STRIDE,
    embed_dim=128,
    decoder_heads=4,
    decoder_mlp_dim=512,
    pixel_mean=IMAGENET_MEAN,
    pixel_std=IMAGENET_STD,
    pyramid=PyramidConfig(),
)


def build_sam(config: SamConfig) -> Sam:
    """A SAM of the given shape with freshly initialised weights, in evaluation mode."""
    encoder = _build_encoder(config)
    prompt_encoder = PromptEncoder(
        embed_dim=config.embed_dim,
        image_embedding_size=(config.grid_size, config.grid_size),
        input_image_size=(config.image_size, config.image_size),
        mask_in_chans=config.mask_channels,
    )
    mask_decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(
            depth=2,
            embedding_dim=config.embed_dim,
            mlp_dim=config.decoder_mlp_dim,
            num_heads=config.decoder_heads,
        ),
        transformer_dim=config.embed_dim,
        iou_head_depth=3,
        iou_head_hidden_dim=config.embed_dim,
    )
    kind = MinMaxSam if config.scaling == "min-max" else Sam
    return kind(encoder, prompt_encoder, mask_decoder, list(config.pixel_mean), list(config.pixel_std)).eval()


def _build_encoder(config: SamConfig) -> ImageEncoderViT | TinyViT | EfficientNetPyramid:
    if config.pyramid is not None:
        return EfficientNetPyramid(config.pyramid, config.image_size, config.embed_dim)
    if config.tiny_vit is not None:
        return TinyViT(config.tiny_vit, config.image_size, config.embed_dim)
    return ImageEncoderViT(
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.encoder_dim,
        depth=config.encoder_depth,
        num_heads=config.encoder_heads,
        mlp_ratio=4,
        out_chans=config.embed_dim,
        qkv_bias=True,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=config.window_size,
        global_attn_indexes=config.global_attention,
    )
