"""Our strided convolutions compared with the library's: values and all gradients, layer by layer.

    python benchmarks/convolutions.py > benchmarks/results/convolutions.md

Every layer of the image encoder and decoder runs on a batch of frames; the two sides take turns,
and the ratio is the median over turns. The first layer's input is an image, whose gradient is not
needed.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp

from common.entry import enter
from configs.spelling import whole
from training.device import choose_device
from worldmodel.convolutions import (
    conv_by_library,
    strided_conv,
    strided_conv_transpose,
    transpose_by_library,
)
from worldmodel.networks import KERNEL_IN, edges_in, kernels_out

Conv = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
ENCODER_SIZES, DECODER_SIZES = edges_in(64)[:-1], (1, 5, 13, 30)


def library(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """``strided_conv`` by the library's operation."""
    return conv_by_library(x, kernel) + bias.reshape(1, 1, 1, -1)


def library_transpose(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """``strided_conv_transpose`` by the library's operation."""
    return transpose_by_library(x, kernel) + bias.reshape(1, 1, 1, -1)


def layers(depth: int) -> Iterator[tuple[str, Conv, Conv, int, int, int, int, bool]]:
    """(name, ours, the library's, size, kernel, channels in, channels out, input's gradient)."""
    widths = [3, *(depth * 2**i for i in range(4))]
    for size, a, b in zip(ENCODER_SIZES, widths, widths[1:], strict=False):
        yield "encoder", strided_conv, library, size, KERNEL_IN, a, b, size != 64
    widths = [32 * depth, 4 * depth, 2 * depth, depth, 3]
    for size, k, a, b in zip(DECODER_SIZES, kernels_out(64), widths, widths[1:], strict=False):
        yield "decoder", strided_conv_transpose, library_transpose, size, k, a, b, True


def compiled(conv: Conv, inputs: bool) -> Callable[..., object]:
    """Compiled value and gradients of one layer."""

    def total(*arrays: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(conv(*arrays)))

    return jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2) if inputs else (1, 2)))


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def print_table(frames: int, depth: int, turns: int) -> None:
    """Print the table."""
    print("| layer | input | kernel | ours, ms | library, ms | library's over ours |")
    print("|---|---|---|---|---|---|")
    sums = [0.0, 0.0]
    for name, ours, theirs, size, k, a, b, inputs in layers(depth):
        keys = jax.random.split(jax.random.key(size))
        arrays = (
            jax.random.normal(keys[0], (frames, size, size, a)),
            jax.random.normal(keys[1], (k, k, a, b)),
            jnp.zeros(b),
        )
        pair = [partial(compiled(conv, inputs), *arrays) for conv in (ours, theirs)]
        times = [[seconds(run) for run in pair] for _ in range(turns + 1)][1:]
        mine, other = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(b / a for a, b in times)
        sums[0], sums[1] = sums[0] + mine, sums[1] + other
        print(
            f"| {name} | {size}x{size}x{a} | {k}x{k}x{b} | {1e3 * mine:.1f} | {1e3 * other:.1f} "
            f"| {ratio:.1f} |",
            flush=True,
        )
    mine, other = sums
    print(f"| all | | | {1e3 * mine:.0f} | {1e3 * other:.0f} | {other / mine:.1f} |")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=whole, default=288, help="in a batch")
    parser.add_argument("--depth", type=int, default=8, help="channels of the first convolution")
    parser.add_argument("--turns", type=int, default=7)
    args = parser.parse_args()
    print("# Strided convolutions, values and gradients\n")
    print(f"`{' '.join(['python benchmarks/convolutions.py', *sys.argv[1:]])}`\n")
    print(f"jax {jax.__version__}, {choose_device().name}; {args.frames} frames, float32.\n")
    print_table(args.frames, args.depth, args.turns)


if __name__ == "__main__":
    enter(main)
