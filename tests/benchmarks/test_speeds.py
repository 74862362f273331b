"""The table of speeds: operations counted by hand, ratios, and one row measured."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.operations import Count, count
from benchmarks.run import chosen, differing, earlier, main, memory, slower, table, table_of_counts
from common import UserError, read_json


def operations(function, *args):
    return count(function, *args).operations


def test_operations_by_hand():
    """A product of [3, 4] and [4, 5] is 3·5·4 multiplications; in a scan of 7, and with its
    gradients, which are two products more; a convolution has its kernel's inputs for each output, a
    transposed one those that are no zeros.
    """
    a, b = jnp.ones((3, 4)), jnp.ones((4, 5))
    assert operations(jnp.matmul, a, b) == 2 * 60
    turned = lambda a, b: jax.lax.scan(lambda c, _: (c, a @ b), 0.0, length=7)  # noqa: E731
    assert operations(jax.jit(turned), a, b) == 7 * 2 * 60
    grads = jax.grad(lambda a, b: jnp.sum((a @ b) ** 2), (0, 1))
    assert operations(grads, a, b) == 3 * 2 * 60
    image, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 6))
    conv = lambda x, k: jax.lax.conv_general_dilated(  # noqa: E731
        x, k, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert operations(conv, image, kernel) == 2 * (2 * 6 * 6 * 6) * (3 * 3 * 3)
    up = lambda x, k: jax.lax.conv_transpose(x, k, (2, 2), "VALID")  # noqa: E731
    assert (
        operations(up, image, jnp.ones((2, 2, 3, 5))) == 2 * (2 * 16 * 16 * 5) * 3
    )  # one input of each output
    branch = lambda a, b: jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: a @ b + a @ b)  # noqa: E731
    assert operations(branch, a, b) == 2 * 2 * 60


def test_elements_by_hand():
    """What all but products and convolutions gives: a sum of 12 numbers and its logarithm 12 and 1,
    seven times in a loop."""
    x = jnp.ones((3, 4))
    once = lambda c: jnp.log(jnp.sum(jnp.exp(c)))  # noqa: E731
    assert count(once, x) == Count(0.0, 12 + 1 + 1)
    turned = lambda x: jax.lax.scan(lambda c, _: (jnp.exp(c), None), x, length=7)[0]  # noqa: E731
    assert count(turned, x).elements == 7 * 12
    rows = jnp.arange(2)
    added = count(lambda x: x.at[rows].add(1.0), x).elements - count(lambda x: x[rows], x).elements
    assert added >= 12 - 2 * 4  # what is scattered to has 12 numbers, what is gathered 8


def test_memory_by_hand():
    """[64, 64] floats read and as many given; none more where the result takes the place of what
    was read."""
    x = jnp.ones((64, 64))
    assert memory(jax.jit(lambda x: x + 1), x) == 2 * 64 * 64 * 4
    assert memory(jax.jit(lambda x: x + 1, donate_argnums=0), x) == 64 * 64 * 4


def row(products):
    own = {"ms": 1.0, "low": 0.9, "high": 1.1, "floor": 0.5, "peak_gib": 1.0, "needs_mib": 3.0}
    return own | {"products": products, "product_ms": 1.0}


def test_what_is_slower_is_named():
    found, before = {"a": row(1.2), "b": row(1.05), "c": row(9.0)}, {"a": row(1.0), "b": row(1.0)}
    assert slower(found, before) == ["a"]
    lines = table(found, before).splitlines()
    assert lines[2].endswith("| 1.20 |") and lines[4].endswith("| – |")


def test_what_does_more_or_less_is_named():
    found, before = {"a": Count(1e6, 3e6)._asdict()}, {"a": Count(1e6, 2e6)._asdict()}
    assert differing(found, before) == ["a"] == differing(before, found)
    assert not differing(found, found | {"a": Count(1.05e6, 3e6)._asdict()})
    assert differing(found, {}) == ["a"] == differing({}, found)
    assert table_of_counts(found, before).splitlines()[2] == "| a | 1 (1.000) | 3 (1.500) |"


def test_an_earlier_file_of_the_other_kind_is_refused(tmp_path):
    counts, speeds = tmp_path / "counts.json", tmp_path / "speeds.json"
    counts.write_text('{"a": {"operations": 1, "elements": 2}, "b": {"operations": 1}}')
    speeds.write_text('{"a": {"products": 1}}')
    assert earlier(counts, ["a"], counted=True) == {"a": {"operations": 1, "elements": 2}}
    for path, names, counted in (
        (counts, ["a"], False),
        (speeds, ["a"], True),
        (speeds, ["c"], False),
    ):
        with pytest.raises(UserError, match=rf"{path.name}: expected rows with .* make it by"):
            earlier(path, names, counted)


def test_rows_are_chosen_by_their_beginning():
    assert chosen(["update/state", "act"]) == [
        "update/state flat",
        "update/state (1, 4)",
        "act/1 environment",
        "act/16 environments",
    ]
    with pytest.raises(UserError, match="beginning of update/video, .* received \\['fly'\\]"):
        chosen(["fly"])


@pytest.mark.slow
def test_a_row_is_measured_and_compared(tmp_path, monkeypatch, capsys):
    """In a process of its own; a file that says it took a tenth makes it fail."""
    file = tmp_path / "speeds.json"
    command = ["run", "--only", "step/cartpole", "--seconds", "0", "--json", str(file)]
    monkeypatch.setattr("sys.argv", command)
    main()
    found = read_json(file)
    assert found["step/cartpole"]["turns"] >= 5
    assert 0 < found["step/cartpole"]["low"] <= found["step/cartpole"]["high"]
    assert "| step/cartpole |" in capsys.readouterr().out
    found["step/cartpole"]["products"] /= 10
    file.write_text(str(found).replace("'", '"'))
    monkeypatch.setattr("sys.argv", [*command[:5], "--against", str(file)])
    with pytest.raises(SystemExit, match="more than 10% slower than .*: step/cartpole"):
        main()
