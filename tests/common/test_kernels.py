"""A kernel runs where nothing may be kept of it."""

from common.kernels import kernel


def test_a_function_that_no_file_holds_is_compiled_all_the_same():
    """numba looks for a place beside its file, or for its name in the user's cache."""
    names: dict[str, object] = {}
    exec("def twice(x):\n    return 2 * x", names)
    assert kernel()(names["twice"])(21) == 42
