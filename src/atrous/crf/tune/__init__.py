"""Search of the CRF's parameters on labeled images (Chen et al. 2015, section 5.1)."""

from atrous.crf.tune.scorer import LabeledImage
from atrous.crf.tune.search import Progress, SearchResult, search
from atrous.crf.tune.trials import Trial

__all__ = ["LabeledImage", "Progress", "SearchResult", "Trial", "search"]
