"""Run by CTest in a real Slicer."""

from AutoPromptSAMLib.selftest import AutoPromptSAMTests  # noqa: F401
