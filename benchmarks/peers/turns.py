"""Updates on request, for programs that another Python runs without our packages."""

import sys
import time
from collections.abc import Callable


def answer(parameters: int, update: Callable[[], None]) -> None:
    """Print the number of parameters; then, for every line read, the CPU-seconds of an update, the
    mean over that line's number of updates."""
    print(parameters, flush=True)
    for line in sys.stdin:
        start = time.process_time()
        for _ in range(int(line)):
            update()
        print((time.process_time() - start) / int(line), flush=True)
