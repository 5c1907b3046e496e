"""PANet (Wang et al., 2019): every pixel goes to the nearer of two prototypes, the structure's and the background's.

"Align" is the name of its regularisation in training, in which prototypes of the answer segment the outlined image.
Where nothing is trained, as in P²SAM's tables, it has no part; what remains is the published inference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adaptsam.evaluation.methods.evaluated_method import Outlined, Pair, Workbench
from adaptsam.evaluation.methods.slice_by_slice import PictureMethod
from adaptsam.sam import Embedding, SamModel

#: What cosine similarities are multiplied with before the softmax; the larger of two wins whatever it is.
_SCALER = 20.0


class PaNet(PictureMethod):
    """PANet on the features of SAM's encoder."""

    name, title = "panet", "PANet"

    def pictures(self, bench: Workbench, pairs: Sequence[Pair]) -> list[np.ndarray]:
        masks = []
        known: dict[int, Tensor] = {}
        for pair in pairs:
            if id(pair.prior) not in known:
                known[id(pair.prior)] = prototypes(bench.model, bench.embed([pair.prior.image])[0], pair.prior)
            [target] = bench.embed([pair.image])
            masks.append(nearest_prototype(bench.model, target, known[id(pair.prior)]))
        return masks


def prototypes(model: SamModel, embedding: Embedding, outlined: Outlined) -> Tensor:
    """Background and foreground (2, C): means of the features, brought to the image's pixels, under either mask.

    The mean under an upsampled map is the mean of the features weighted by the mask brought down the transposed way, so
    that the features need not be held at the image's size.
    """
    channels = embedding.features.shape[0]
    # One channel tells how much each feature weighs at each pixel: the gradient of the upsampled sum.
    weight = torch.zeros(1, *embedding.features.shape[-2:], requires_grad=True)
    upsampled = _upsampled(model, weight, embedding)
    found = []
    for part in (~outlined.mask, outlined.mask):
        counted = torch.from_numpy(part)[None].float()
        (share,) = torch.autograd.grad((upsampled * counted).sum(), weight, retain_graph=True)
        total = (embedding.features.cpu().reshape(channels, -1) * share.reshape(1, -1)).sum(1)
        found.append(total / (counted.sum() + 1e-5))
    return torch.stack(found)


def nearest_prototype(model: SamModel, target: Embedding, two: Tensor) -> np.ndarray:
    """Pixels nearer to the second prototype than to the first, bool (H, W)."""
    features = target.features.cpu()
    scores = functional.cosine_similarity(features[None], two[:, :, None, None], dim=1) * _SCALER
    scores = _upsampled(model, scores, target)
    return np.asarray((scores.argmax(0) == 1).numpy())


def _upsampled(model: SamModel, maps: Tensor, embedding: Embedding) -> Tensor:
    """Maps (n, h, w) of the grid on the image's own pixels (n, H, W), without the padding."""
    size = model.image_size
    framed = functional.interpolate(maps[None], (size, size), mode="bilinear", align_corners=False)
    height, width = embedding.input_size
    inside = framed[..., :height, :width]
    return functional.interpolate(inside, embedding.original_size, mode="bilinear", align_corners=False)[0]
