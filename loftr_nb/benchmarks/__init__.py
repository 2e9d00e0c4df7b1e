"""Side by side with kornia's LoFTR: time, memory and equality, for anyone to repeat."""

from .compare import Comparison, Side, compare
from .draw import growth_picture

__all__ = ["Comparison", "Side", "compare", "growth_picture"]
