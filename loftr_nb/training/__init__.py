"""From a recipe to a trained, evaluated model: plans, the trainer, run folders."""

from .averages import renewed_averages
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .config import DataConfig, LogConfig, OptimConfig, Recipe
from .failure import load_batch
from .finish import draw_matches, evaluate_shared, finish, print_summary, validation
from .overfit import overfit
from .overrides import differences, field_names, override
from .plan import Plan, make_plan
from .recipes import RECIPES, get_recipe, recipe_to_dict
from .run import train
from .run_folder import RunFolder
from .schedule import Schedule
from .signals import Stopped
from .trainer import Trainer

__all__ = [
    "RECIPES",
    "Checkpoint",
    "DataConfig",
    "LogConfig",
    "OptimConfig",
    "Plan",
    "Recipe",
    "RunFolder",
    "Schedule",
    "Stopped",
    "Trainer",
    "differences",
    "draw_matches",
    "evaluate_shared",
    "field_names",
    "finish",
    "get_recipe",
    "load_batch",
    "load_checkpoint",
    "make_plan",
    "overfit",
    "override",
    "print_summary",
    "recipe_to_dict",
    "renewed_averages",
    "save_checkpoint",
    "train",
    "validation",
]
