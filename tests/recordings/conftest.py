"""Files in the true formats, written small, and stores read back by NumPy alone."""

from pathlib import Path

import av
import numpy as np
import pytest


class Files:
    """Writers of the formats that others publish."""

    def frames(self, tag: int, steps: int, size: tuple[int, int] = (64, 64)) -> np.ndarray:
        """uint8 [T, H, W, 3], smooth enough to survive a codec: grey level 20 + 4t + 10 tag."""
        level = (20 + 4 * np.arange(steps) + 10 * tag) % 236
        images = np.broadcast_to(level[:, None, None, None], (steps, size[1], size[0], 3))
        return np.ascontiguousarray(images).astype(np.uint8)

    def video(
        self,
        path: Path,
        images: np.ndarray,
        codec: str = "h264",
        fps: int = 25,
        **options: str,
    ) -> Path:
        """Encodes [T, H, W, 3] by PyAV; the suffix chooses the container."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream(codec, rate=fps)
            stream.height, stream.width = images.shape[1:3]
            stream.pix_fmt = "yuv420p"
            for image in images:
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    def truncate(self, path: Path, share: float = 0.7) -> Path:
        """Keeps the first part of a file."""
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        return path

    def episodes(self, store: Path) -> list[np.ndarray]:
        """The records of each episode of a store, in order; nothing but whole episodes is there."""
        chunks: dict[int, list[np.ndarray]] = {}
        status: dict[int, str] = {}
        if not store.exists():
            return []
        assert {path.name for path in store.iterdir()} == {"chunks", "lock", "store.json"}
        for file in sorted((store / "chunks").iterdir()):
            episode, chunk, steps, state, _ = file.stem.split("-")
            records = chunks.setdefault(int(episode[1:]), [])
            assert int(chunk[1:]) == len(records)
            records.append(np.load(file, allow_pickle=False))
            assert len(records[-1]) == int(steps[1:])
            status[int(episode[1:])] = state
        assert set(status.values()) <= {"end"} and sorted(chunks) == list(range(len(chunks)))
        return [np.concatenate(chunks[number]) for number in sorted(chunks)]

    def same(self, one: Path, other: Path) -> None:
        """Two stores hold the same episodes, under the same numbers."""
        for split in ("train", "test", "validation"):
            left, right = self.episodes(one / split), self.episodes(other / split)
            assert len(left) == len(right), split
            for a, b in zip(left, right, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="session")
def files() -> Files:
    return Files()
