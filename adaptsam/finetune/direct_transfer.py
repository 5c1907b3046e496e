"""A SAM that gets no prompt: the "direct transfer" of a fine-tuned model in P²SAM's Table 1."""

from __future__ import annotations

import numpy as np
from segment_anything.modeling import Sam
from torch import Tensor, nn

from adaptsam.finetune.differentiable_decoding import decode_prompts
from adaptsam.sam import encode
from adaptsam.sam.prompt_encoder import PromptTokens


class DirectTransfer(nn.Module):
    """Image to mask in one call, without a prompt: what can be exported to TorchScript.

    Args:
        sam: best one that was fine-tuned with rounds without a prompt, as the recipes do it.
    """

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, images: Tensor) -> Tensor:
        """Logits float32 (B, 1, 4h, 4w) of images (B, 3, S, S), 0 to 255, padded as SAM's input."""
        nothing = PromptTokens(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))
        features = encode(self.sam.image_encoder, self.sam.preprocess(images))
        count = int(images.shape[0])
        logits, _ = decode_prompts(self.sam, features, [nothing] * count, [None] * count, multimask=False)
        return logits.float()
