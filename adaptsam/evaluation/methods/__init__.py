"""The rows of the tables: P²SAM and its ablations, its rivals on the same SAM, and what a clinic would use.

method = make_methods(["p2sam", "persam", "registration"])[0]
method.prepare(bench)
masks = method.pictures(bench, pairs)
"""

from adaptsam.evaluation.methods.evaluated_method import (
    Domain,
    Found,
    Method,
    NotApplicable,
    Outlined,
    Pair,
    VolumePair,
    Workbench,
    fingerprint,
)
from adaptsam.evaluation.methods.method_registry import GROUPS, Extras, make_methods, method_names

__all__ = [
    "GROUPS",
    "Domain",
    "Extras",
    "Found",
    "Method",
    "NotApplicable",
    "Outlined",
    "Pair",
    "VolumePair",
    "Workbench",
    "fingerprint",
    "make_methods",
    "method_names",
]
