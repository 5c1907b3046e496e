"""A synthetic thorax CT with exact contours: anatomy is drawn, rendered, and scanned at several visits."""

from adaptsam.data.phantom.patient import CONTOURED, PhantomVisit, phantom_patient

__all__ = ["CONTOURED", "PhantomVisit", "phantom_patient"]
