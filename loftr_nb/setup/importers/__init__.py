"""Other people's recordings and photos, written so that the readers here take them.

Videos with depth become ScanNet scenes, photo collections a MegaDepth tree, plain
photos a folder of homography pairs.
"""

from .calibrate import Calibration, calibrate
from .colmap import import_colmap
from .folder import import_folder
from .register import Rig, register_depth
from .report import ImportReport
from .scannet_sens import import_scannet_sens
from .sens import SensFile
from .sens_format import SensEntry, SensFrame, SensHeader, write_sens
from .sevenscenes import documented_rig, import_sevenscenes
from .tum import import_tum

__all__ = [
    "Calibration",
    "ImportReport",
    "Rig",
    "SensEntry",
    "SensFile",
    "SensFrame",
    "SensHeader",
    "calibrate",
    "documented_rig",
    "import_colmap",
    "import_folder",
    "import_scannet_sens",
    "import_sevenscenes",
    "import_tum",
    "register_depth",
    "write_sens",
]
