"""CLIP Surgery on open_clip models: where in an image is what a text names, without any training."""

from adaptsam.alignsam.clip.clip_model import ClipModel, load_clip
from adaptsam.alignsam.clip.text_attention import SurgerySettings, TextAttention
from adaptsam.alignsam.clip.vocabulary import check_words

__all__ = ["ClipModel", "SurgerySettings", "TextAttention", "check_words", "load_clip"]
