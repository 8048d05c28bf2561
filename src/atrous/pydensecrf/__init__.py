"""A drop-in replacement for pydensecrf: its modules, names, units and results.

``import atrous.pydensecrf.densecrf as dcrf`` and ``from atrous.pydensecrf.utils import ...`` serve code that
was written for pydensecrf. New code is better off with `atrous.DenseCRF`.
"""

from . import densecrf, eigen, pairwise, utils

__all__ = ["densecrf", "eigen", "pairwise", "utils"]
