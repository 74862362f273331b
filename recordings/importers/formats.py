"""The formats that `python -m recordings FORMAT` accepts: one source for each name.

A source is a frozen dataclass with `names`, `read` and `split` (`run.py: Source`); its fields are
the command's options, and a field `source` is the location of the data. Generators can be added to
this table in the same way: they have no `source`.
"""

from recordings.importers.kth import Kth
from recordings.importers.minari import Minari
from recordings.importers.minerl import MineRL
from recordings.importers.npz import Npz
from recordings.importers.sequences import Mazes, MovingMnist
from recordings.importers.tfrecord import TfRecords
from recordings.importers.video_folder import VideoFolder
from recordings.run import Source

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
