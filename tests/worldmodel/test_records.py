"""Records of arrays as a loop leaves them, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from common import UserError
from worldmodel.records import episodes


@pytest.mark.parametrize("last", [0, 1])
def test_actions_and_rewards_come_with_what_they_led_to(last: int) -> None:
    """T = 3, K = 2: one record of lead-in, then two blocks of 2, of which one step is padding."""
    obs = {"x": jnp.array([[[1.0], [2.0], [3.0]]])}
    action = jnp.array([[[0.1], [0.2], [0.9]]])[:, : 2 + last]
    reward = jnp.array([[10.0, 20.0, 90.0]])[:, : 2 + last]
    found = episodes(obs, action, reward, jnp.array([True]), lead=1, stride=2)
    assert found.obs["x"][0, :, 0].tolist() == [1, 1, 2, 3, 3]
    np.testing.assert_allclose(found.action[0, :, 0], [0, 0, 0.1, 0.2, 0])
    assert found.reward[0].tolist() == [0, 0, 10, 20, 0]
    assert found.mask[0].tolist() == [0, 1, 1, 1, 0]
    assert found.is_first[0].tolist() == [False, True, False, False, False]
    assert found.terminal[0].tolist() == [False, False, False, True, False]


def test_arrays_of_other_lengths_are_refused() -> None:
    obs, action = {"x": jnp.zeros((2, 5, 1))}, jnp.zeros((2, 4, 1))
    with pytest.raises(UserError, match=r"action: expected \[B, T\] = \(2, 4\) or \(2, 5\) first"):
        episodes(obs, jnp.zeros((2, 3, 1)), lead=0, stride=1)
    with pytest.raises(UserError, match=r"obs\['y'\]: expected \[B, T\] = \(2, 5\) first, rec"):
        episodes({**obs, "y": jnp.zeros((2, 4, 1))}, action, lead=0, stride=1)
    with pytest.raises(UserError, match=r"reward: .* received \(2, 6\)"):
        episodes(obs, action, jnp.zeros((2, 6)), lead=0, stride=1)


@pytest.mark.parametrize(
    ("image", "received"),
    [
        (np.full((1, 2, 32, 32, 3), 255.0), "floats from 255 to 255"),
        (np.full((1, 2, 32, 32, 3), -0.5, np.float32), "floats from -0.5 to -0.5"),
        (np.full((1, 2, 32, 32, 3), np.nan), "floats from nan to nan"),
        (np.zeros((1, 2, 32, 32, 3), np.int64), "int64"),
        (np.zeros((1, 2, 32, 32, 3), bool), "bool"),
    ],
)
def test_images_that_would_be_read_as_other_pixels_are_refused(image, received) -> None:
    with pytest.raises(UserError, match=rf"obs\['pov'\]: .*from 0 to 1, received {received}; conv"):
        episodes({"pov": image}, np.zeros((1, 1, 1)), lead=0, stride=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_of_bytes_or_of_shares_are_kept(dtype) -> None:
    image = np.ones((1, 2, 32, 32, 3), dtype)
    found = episodes({"pov": image, "x": np.full((1, 2, 1), 9)}, image[..., 0, 0], lead=0, stride=1)
    assert found.obs["pov"].dtype == dtype and (found.obs["pov"] == 1).all()
