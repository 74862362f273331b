"""LPIPS against a slow plain twin in numpy, with random weights, both networks; files refused."""

import jax
import numpy as np
import pytest

from analysis.metrics.lpips import NETS, load_lpips, lpips
from analysis.metrics.protocols import PROTOCOLS, compare_frames

SIZE = 64


def random_state(net: str, seed: int = 0) -> dict[str, np.ndarray]:
    """A state of that network, named and shaped as the `lpips` package's, but narrow."""
    rng, arrays, channels, heads = np.random.default_rng(seed), {}, 3, 0
    for n, conv in enumerate(NETS[net]):
        width, fan = 4 + n % 3, channels * conv.kernel**2
        shape = (width, channels, conv.kernel, conv.kernel)
        arrays[f"net.{conv.name}.weight"] = rng.normal(size=shape) * fan**-0.5
        arrays[f"net.{conv.name}.bias"] = 0.1 * rng.normal(size=width)
        channels = width
        if conv.tap:
            arrays[f"lin{heads}.model.1.weight"] = rng.uniform(size=(1, width, 1, 1))
            heads += 1
    arrays["scaling_layer.shift"] = np.zeros((1, 3, 1, 1))
    return {name: x.astype(np.float32) for name, x in arrays.items()}


def slow_convolution(x: np.ndarray, kernel: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """[in, h, w] to [out, h', w'], by the definition."""
    x = np.pad(x, [(0, 0), (padding, padding), (padding, padding)])
    size = kernel.shape[-1]
    out = (x.shape[1] - size) // stride + 1
    y = np.zeros((len(kernel), out, out))
    for i in range(out):
        for j in range(out):
            patch = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            y[:, i, j] = (kernel * patch).sum((1, 2, 3))
    return y


def slow_pool(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    out = (x.shape[1] - size) // stride + 1
    y = np.zeros((len(x), out, out))
    for i in range(out):
        for j in range(out):
            window = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            y[:, i, j] = window.max((1, 2))
    return y


def slow_features(state: dict[str, np.ndarray], net: str, frame: np.ndarray) -> list[np.ndarray]:
    """Features of the layers that the paper compares, by their places in torchvision's networks."""
    mean, deviation = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x = ((2.0 * np.broadcast_to(frame, (SIZE, SIZE, 3)) - 1 - mean) / deviation).transpose(2, 0, 1)
    plan = {
        "alex": "1.0:4:2 | P3:2 2.3:1:2 | P3:2 3.6:1:1 | 4.8:1:1 | 5.10:1:1",
        "vgg": "1.0:1:1 1.2:1:1 | P2:2 2.5:1:1 2.7:1:1 | P2:2 3.10:1:1 3.12:1:1 3.14:1:1 | "
        "P2:2 4.17:1:1 4.19:1:1 4.21:1:1 | P2:2 5.24:1:1 5.26:1:1 5.28:1:1",
    }[net]
    taps = []
    for block in plan.split("|"):
        for layer in block.split():
            if layer.startswith("P"):
                x = slow_pool(x, *map(int, layer[1:].split(":")))
                continue
            name, stride, padding = layer.split(":")
            kernel, bias = (state[f"net.slice{name}.{part}"] for part in ("weight", "bias"))
            x = slow_convolution(x, kernel, int(stride), int(padding)) + bias[:, None, None]
            x = np.maximum(x, 0)
        taps.append(x)
    return taps


def slow_lpips(state: dict[str, np.ndarray], net: str, x: np.ndarray, y: np.ndarray) -> float:
    total = 0.0
    pairs = zip(slow_features(state, net, x), slow_features(state, net, y), strict=True)
    for layer, (a, b) in enumerate(pairs):
        a, b = (z / (np.sqrt((z**2).sum(0)) + 1e-10) for z in (a, b))
        weight = state[f"lin{layer}.model.1.weight"].reshape(-1, 1, 1)
        total += (weight * (a - b) ** 2).sum(0).mean()
    return total


@pytest.mark.parametrize(("net", "channels"), [("alex", 3), ("alex", 1), ("vgg", 3)])
def test_lpips_is_its_plain_twin(net, channels, tmp_path):
    state = random_state(net)
    np.savez(tmp_path / "w.npz", **state)
    weights = load_lpips(tmp_path / "w.npz")
    assert weights.net == net
    rng = np.random.default_rng(1)
    true, predicted = rng.uniform(size=(2, 2, SIZE, SIZE, channels)).astype(np.float32)
    ours = jax.jit(lpips)(weights, true, predicted)
    want = [slow_lpips(state, net, x, y) for x, y in zip(true, predicted, strict=True)]
    np.testing.assert_allclose(ours, want, rtol=1e-4)
    assert min(want) > 1e-3
    np.testing.assert_allclose(jax.jit(lpips)(weights, true, true), 0, atol=1e-7)


def test_lpips_stands_beside_the_others_and_sees_clipped_frames(tmp_path):
    np.savez(tmp_path / "w.npz", **random_state("alex"))
    weights = load_lpips(tmp_path / "w.npz")
    rng = np.random.default_rng(1)
    true, noise = rng.uniform(size=(2, 1, SIZE, SIZE, 3)).astype(np.float32)
    outside = true + noise - 0.5
    for protocol in PROTOCOLS.values():
        scores = jax.jit(lambda w, x, y, p=protocol: compare_frames(p, w, x, y))
        want = jax.jit(lpips)(weights, true, np.clip(outside, 0, 1))
        np.testing.assert_allclose(scores(weights, true, outside)["lpips"], want, rtol=1e-5)


def test_what_is_no_whole_network_is_refused(tmp_path):
    state = random_state("alex")
    path = tmp_path / "w.npz"
    with pytest.raises(ValueError, match="expected an .npz file"):
        load_lpips(path)
    path.write_bytes(b"\x80\x04K\x01.")  # a pickle
    with pytest.raises(ValueError, match="expected an .npz file"):
        load_lpips(path)
    heads = {name: x for name, x in state.items() if name.startswith("lin")}
    np.savez(path, **heads)
    with pytest.raises(ValueError, match="AlexNet"):
        load_lpips(path)
    np.savez(path, **{name: x for name, x in state.items() if name not in heads})
    with pytest.raises(ValueError, match=r"lin0.model.1.weight.*no such array"):
        load_lpips(path)
    np.savez(path, **{**state, "net.slice2.3.weight": state["net.slice3.6.weight"]})
    with pytest.raises(ValueError, match=r"net.slice2.3.weight"):
        load_lpips(path)


def test_two_channels_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", **random_state("alex"))
    frames = jax.numpy.zeros((1, SIZE, SIZE, 2))
    with pytest.raises(ValueError, match="1 or 3 channels"):
        lpips(load_lpips(tmp_path / "w.npz"), frames, frames)
