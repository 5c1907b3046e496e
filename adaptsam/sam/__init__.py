"""SAM: checkpoints, the image encoder made fast, embeddings and their store, prompts, batched decoding."""

from adaptsam.sam.architecture import LITE, MEDSAM, VIT_B, VIT_H, VIT_L, VIT_T, SamConfig, build_sam
from adaptsam.sam.batched_decoding import Decoded, decode
from adaptsam.sam.checkpoint import Checkpoint, bundled_checkpoint, read_checkpoint, save_checkpoint
from adaptsam.sam.embedding import Embedding
from adaptsam.sam.embedding_store import EmbeddingStore, lasting_store
from adaptsam.sam.image_encoder import encode
from adaptsam.sam.prompt_encoder import DecodeRequest
from adaptsam.sam.prompt_session import PromptSession
from adaptsam.sam.sam_model import Precision, SamModel, choose_device, load_sam

__all__ = [
    "LITE",
    "MEDSAM",
    "VIT_B",
    "VIT_H",
    "VIT_L",
    "VIT_T",
    "Checkpoint",
    "DecodeRequest",
    "Decoded",
    "Embedding",
    "EmbeddingStore",
    "Precision",
    "PromptSession",
    "SamConfig",
    "SamModel",
    "build_sam",
    "bundled_checkpoint",
    "choose_device",
    "decode",
    "encode",
    "lasting_store",
    "load_sam",
    "read_checkpoint",
    "save_checkpoint",
]
