"""Run by CTest in a real Slicer."""

from PersonalizedSAMLib.selftest import PersonalizedSAMTests  # noqa: F401
