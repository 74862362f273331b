"""What `python -m replay.importers FORMAT` accepts: one name, one source.

A source is a frozen dataclass with `names`, `read` and `split` (`run.py: Source`); its fields are
the command's options, and a field `source` the data's place. Generators join this table the same
way: those have no `source`.
"""

from replay.importers.kth import Kth
from replay.importers.minari import Minari
from replay.importers.minerl import MineRL
from replay.importers.npz import Npz
from replay.importers.run import Source
from replay.importers.sequences import Mazes, MovingMnist
from replay.importers.tfrecord import TfRecords
from replay.importers.video_folder import VideoFolder

FORMATS: dict[str, type[Source]] = {
    "kth": Kth,
    "mazes": Mazes,
    "minari": Minari,
    "minerl": MineRL,
    "moving_mnist": MovingMnist,
    "npz": Npz,
    "tfrecord": TfRecords,
    "videos": VideoFolder,
}
