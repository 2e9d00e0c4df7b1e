"""LoFTR, from images with depth to a trained and evaluated matcher.

The folders are the stages, and imports run one way through them:
``geometry``, ``datasets`` (and ``synthetic``, which writes one), ``supervision``,
``model``, ``losses``, ``viz``, ``evaluation``, ``training``, ``cli``.
"""

__version__ = "0.1.0"
