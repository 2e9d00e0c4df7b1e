"""LoFTR, from images with depth to a trained and evaluated matcher.

The folders are the stages, and imports run one way through them:
``geometry``, ``files``, ``recordings``, ``indexing``, ``datasets`` (and
``synthetic``, which writes one), ``supervision``, ``model``, ``losses``, ``viz``,
``evaluation``, ``setup``, ``training``, ``launch``, ``doctor``, ``cli``.
"""

import os

# PyTorch's threads spin while they wait for each other. On a machine that does
# something else as well (two cores and a browser), spinning takes the core from
# the thread that is waited for, and a training step takes six times as long;
# with short spinning, twice. On an idle machine it costs a fifth. It has to be set
# before PyTorch is loaded; set it yourself to choose otherwise.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.1.0"
