"""KTH Action: grey AVI videos of 25 persons, 160x120 at 25 fps. Schuldt et al. 2004."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common import UserError
from recordings.episode import Video
from recordings.importers import decode, folder
from recordings.importers.images import Look

TRAIN_PERSONS, PERSONS = 20, 25
_NAME = re.compile(r"person(\d\d)_[a-z]+_d\d(_uncomp)?\.avi", re.IGNORECASE)


@dataclass(frozen=True)
class Kth:
    """KTH Action: persons 1-20 train, 21-25 test; grey."""

    source: Path
    """The folder with person01_boxing_d1_uncomp.avi ..., in it or in folders below."""
    look: Look = Look()
    """How frames are made to fit."""

    def names(self) -> list[str]:
        """Paths of the AVI files inside the folder."""
        return folder.find(self.source, lambda name: name.lower().endswith(".avi"))

    def read(self, name: str) -> Iterator[Video]:
        """The video. Raises UserError for a file that is not called as KTH's are."""
        self.split(name)
        path = folder.locate(self.source, name)
        return decode.read_video(name, path, self.look, channels=1, fps=None)

    def split(self, name: str) -> str:
        """By person."""
        match = _NAME.fullmatch(name.rpartition("/")[2])
        person = int(match[1]) if match else 0
        if not 1 <= person <= PERSONS:
            raise UserError("not called personNN_action_dN_uncomp.avi, NN from 01 to 25")
        return folder.TRAIN if person <= TRAIN_PERSONS else folder.TEST
