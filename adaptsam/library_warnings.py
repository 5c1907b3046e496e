"""Messages of libraries about each other that a user cannot act on, hidden."""

from __future__ import annotations

import logging


def hide_known_noise() -> None:
    """Hide what PyTorch says of torchao's enums, where MONAI, peft or transformers import that; and nothing else.

    PyTorch need not be imported yet.
    """
    logging.getLogger("torch.utils._pytree").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    about = record.args[0] if isinstance(record.args, tuple) and record.args else None
    return not ("Enum subclass" in str(record.msg) and getattr(about, "__module__", "").startswith("torchao."))
