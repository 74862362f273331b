"""The strictness of `conftest.py` is on: each rule is seen to refuse what it must."""

import warnings

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from worldmodel import clock


def test_rank_promotion_raises() -> None:
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.ones((2, 3)) + jnp.ones(3)


def test_a_key_is_used_once() -> None:
    key = jax.random.key(0)
    jax.random.normal(key)
    with pytest.raises(jax.errors.KeyReuseError):
        jax.random.uniform(key)


def test_a_key_is_used_once_inside_jit() -> None:
    twice = jax.jit(lambda key: jax.random.normal(key) + jax.random.uniform(key))
    with pytest.raises(jax.errors.KeyReuseError):
        twice(jax.random.key(0))


def test_a_warning_is_an_error() -> None:
    with pytest.raises(UserWarning, match="planted"):
        warnings.warn("planted", UserWarning, stacklevel=1)


def test_array_shapes_are_checked() -> None:
    with pytest.raises(TypeCheckError, match="is_first"):
        clock.segments(jnp.zeros((2, 3), bool))
