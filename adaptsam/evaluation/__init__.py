"""Evaluation as the papers report it: cases, methods, protocols, statistics and tables."""
