"""What training minimises, and the step that computes it."""

from .coarse import coarse_loss
from .config import LossConfig
from .fine import fine_loss
from .sampling import FineSamples, choose_fine_samples
from .step import StepOutput, TrainingStep, training_step
from .streamed import streamed_coarse_loss

__all__ = [
    "FineSamples",
    "LossConfig",
    "StepOutput",
    "TrainingStep",
    "choose_fine_samples",
    "coarse_loss",
    "fine_loss",
    "streamed_coarse_loss",
    "training_step",
]
