"""Parts that AdaptSAM's modules share inside Slicer: geometry, segments, the worker, results. The methods are in `adaptsam`."""

import importlib.util
import os
import sys

# Installed, the package lies beside the modules; in a source checkout it lies beside the module's folder.
if importlib.util.find_spec("adaptsam") is None:
    _checkout = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if os.path.isfile(os.path.join(_checkout, "adaptsam", "__init__.py")):
        sys.path.append(_checkout)
