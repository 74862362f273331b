"""Pure environments: agreement with what they copy, and the walls and goals of the two rooms."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs import EnvConfig, make, make_vector
from envs.pure import (
    CartpoleSwingup,
    CartpoleSwingupSparse,
    Pendulum,
    PureGym,
    Reacher,
    TwoRooms,
    TwoRoomsDoor,
)
from envs.pure import reacher as arm
from envs.pure.cartpole import CartpoleState, advance, reward
from envs.pure.named import PURE
from envs.pure.pendulum import PendulumState
from envs.pure.two_rooms import CUE_STEPS, HALL, ROOM, SPEED, TwoRoomsState

KEY = jax.random.key(0)  # none of these draws anything in a step


def test_pendulum_is_gymnasiums() -> None:
    theirs = gymnasium.make("Pendulum-v1").unwrapped
    theirs.reset(seed=0)
    ours, step = Pendulum(), jax.jit(Pendulum().step)
    state = PendulumState(*map(jnp.float32, theirs.state))
    rng = np.random.default_rng(0)
    for _ in range(200):
        action = rng.uniform(-1.2, 1.2, 1).astype(np.float32)
        state = PendulumState(*map(jnp.float32, theirs.state))
        obs, paid, *_ = theirs.step(2 * action)
        state, ours_paid, _ = step(state, jnp.asarray(action), KEY)
        np.testing.assert_allclose(ours.observe(state), obs, atol=2e-5)
        np.testing.assert_allclose(ours_paid, paid, atol=2e-5)


def test_cartpole_is_deepmind_controls() -> None:
    suite = pytest.importorskip("dm_control.suite")
    theirs = suite.load("cartpole", "swingup", task_kwargs={"random": 0})
    theirs.reset()
    physics, step = theirs.physics, jax.jit(advance)
    rng = np.random.default_rng(0)
    for _ in range(20):
        with physics.reset_context():
            physics.data.qpos[:] = [rng.uniform(-1, 1), rng.uniform(-np.pi, np.pi)]
            physics.data.qvel[:] = [rng.normal(), 3 * rng.normal()]
        position, velocity = (
            jnp.array(x, jnp.float32) for x in (physics.data.qpos, physics.data.qvel)
        )
        state = CartpoleState(position, velocity)
        control = rng.uniform(-1, 1)
        for _ in range(10):
            paid = theirs.step([control]).reward
            state = step(state, jnp.float32(10 * control))
        np.testing.assert_allclose(state.position, physics.data.qpos, atol=1e-4)
        np.testing.assert_allclose(state.velocity, physics.data.qvel, atol=1e-3)
        np.testing.assert_allclose(reward(state, jnp.float32(control)), paid, atol=1e-4)


def test_a_step_of_cartpole_is_two_frames_of_deepmind_controls() -> None:
    """The sum of both rewards, and what is observed; episodes start hanging, nearly at rest."""
    suite = pytest.importorskip("dm_control.suite")
    theirs = suite.load("cartpole", "swingup", task_kwargs={"random": 0})
    theirs.reset()
    env, rng = CartpoleSwingup(), np.random.default_rng(0)
    hanging = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 50))
    assert (np.cos(hanging.position[:, 1]) < -0.99).all() and np.abs(hanging.velocity).max() < 0.1
    state = CartpoleState(jnp.array([0.1, 0.6]), jnp.array([0.2, -0.1]))  # where frames pay
    with theirs.physics.reset_context():
        theirs.physics.data.qpos[:], theirs.physics.data.qvel[:] = state.position, state.velocity
    for _ in range(5):
        control = rng.uniform(0.2, 1, 1)
        frames = [theirs.step(control) for _ in range(2)]
        state, paid, _ = env.step(state, jnp.float32(control), KEY)
        np.testing.assert_allclose(paid, sum(f.reward for f in frames), atol=1e-4)
        told = np.concatenate(list(frames[-1].observation.values()))  # x, cos, sin, x', θ'
        np.testing.assert_allclose(env.observe(state), told, atol=2e-3)


def test_cartpole_keeps_energy_without_damping_and_force(monkeypatch: pytest.MonkeyPatch) -> None:
    from envs.pure import cartpole

    monkeypatch.setattr(cartpole, "DAMPING", (0.0, 0.0))

    def energy(state: CartpoleState) -> float:
        angle, (slide, turn) = state.position[1], state.velocity
        moment = cartpole.POLE * cartpole.CENTRE
        kinetic = 0.5 * (cartpole.CART + cartpole.POLE) * slide**2
        kinetic += 0.5 * (cartpole.INERTIA + moment * cartpole.CENTRE) * turn**2
        kinetic += moment * jnp.cos(angle) * slide * turn
        return float(kinetic + moment * cartpole.GRAVITY * jnp.cos(angle))

    state = CartpoleState(jnp.array([0.0, 1.0]), jnp.array([0.1, 0.5]))
    before = energy(state)
    for _ in range(100):
        state = advance(state, jnp.float32(0.0))
    assert energy(state) == pytest.approx(before, abs=1e-3)


def test_cartpole_stops_at_the_wall() -> None:
    state = CartpoleState(jnp.array([1.79, jnp.pi]), jnp.array([2.0, 0.0]))
    state = advance(state, jnp.float32(10.0))
    assert float(state.position[0]) == pytest.approx(1.8)
    assert float(state.velocity[0]) == 0


def test_cartpole_pays_most_upright_in_the_middle_at_rest() -> None:
    zero = CartpoleState(jnp.zeros(2), jnp.zeros(2))
    assert float(reward(zero, jnp.zeros(()))) == pytest.approx(1.0)
    assert float(reward(zero, jnp.ones(()))) == pytest.approx(0.8)
    down = CartpoleState(jnp.array([0.0, jnp.pi]), jnp.zeros(2))
    assert float(reward(down, jnp.zeros(()))) == pytest.approx(0.0, abs=1e-6)


def test_sparse_cartpole_pays_as_deepmind_controls() -> None:
    suite = pytest.importorskip("dm_control.suite")
    theirs = suite.load("cartpole", "swingup_sparse", task_kwargs={"random": 0})
    env, rng = CartpoleSwingupSparse(), np.random.default_rng(0)
    seen = []
    for _ in range(400):
        position = rng.uniform(-0.35, 0.35), rng.uniform(-0.15, 0.15)
        with theirs.physics.reset_context():
            theirs.physics.data.qpos[:] = position
        paid = theirs.task.get_reward(theirs.physics)
        state = CartpoleState(jnp.array(position), jnp.zeros(2))
        assert float(env.paid(state, jnp.zeros(()))) == paid
        seen.append(paid)
    assert 50 < sum(seen) < 350


def test_reacher_is_deepmind_controls() -> None:
    suite = pytest.importorskip("dm_control.suite")
    theirs = suite.load("reacher", "easy", task_kwargs={"random": 0})
    theirs.reset()
    physics, step, rng = theirs.physics, jax.jit(arm.advance), np.random.default_rng(0)
    for _ in range(20):
        with physics.reset_context():
            physics.data.qpos[:] = [rng.uniform(-3, 3), rng.uniform(-1.5, 1.5)]
            physics.data.qvel[:] = 3 * rng.normal(size=2)
        target = physics.named.model.geom_pos["target", :2]
        numbers = physics.data.qpos, physics.data.qvel, target
        state = arm.ReacherState(*(jnp.array(x, jnp.float32) for x in numbers))
        control = rng.uniform(-1, 1, 2)
        for _ in range(8):
            theirs.step(control)
            state = step(state, jnp.asarray(arm.TORQUE * control, jnp.float32))
        np.testing.assert_allclose(state.position, physics.data.qpos, atol=1e-4)
        np.testing.assert_allclose(state.velocity, physics.data.qvel, atol=2e-3)
        np.testing.assert_allclose(arm.to_target(state), physics.finger_to_target(), atol=1e-5)


def test_reacher_stops_at_the_wrist_and_pays_where_the_finger_is() -> None:
    state = arm.ReacherState(jnp.array([0.0, 2.79]), jnp.array([0.0, 9.0]), jnp.zeros(2))
    state = arm.advance(state, jnp.zeros(2))
    assert float(state.position[1]) == pytest.approx(arm.WRIST) and float(state.velocity[1]) == 0
    straight = jnp.array([0.24, 0.0])
    for away, paid in ((0.059, 4.0), (0.061, 0.0)):
        state = arm.ReacherState(jnp.zeros(2), jnp.zeros(2), straight + jnp.array([away, 0.0]))
        assert float(Reacher().step(state, jnp.zeros(2), KEY).reward) == paid


def test_the_reacher_sees_where_its_target_is() -> None:
    """In units of 0.1 m, from the finger: stretched out along x, it ends at 0.12 + 0.12 m."""
    state = arm.ReacherState(jnp.zeros(2), jnp.zeros(2), jnp.array([0.27, -0.05]))
    np.testing.assert_allclose(Reacher().observe(state)[3:5], [0.3, -0.5], atol=1e-5)


def walk(position: tuple[float, float], actions: list[tuple[float, float]], cue: float = 1.0):
    """Where actions lead, and what each paid."""
    env = TwoRooms()
    state = TwoRoomsState(jnp.array(position), jnp.float32(cue), jnp.zeros((), jnp.int32))
    paid = []
    for action in actions:
        state, value, _ = env.step(state, jnp.array(action), KEY)
        paid.append(float(value))
    return state, paid


def test_two_rooms_has_walls() -> None:
    state, _ = walk((1.9, 0.9), [(1.0, 0.0)] * 3)  # beside the hallway's mouth
    np.testing.assert_allclose(state.position, [2.0, 0.9], atol=1e-6)
    state, _ = walk((1.9, 0.0), [(1.0, 0.0)] * 41)  # through it, to the far wall
    np.testing.assert_allclose(state.position, [10.0, 0.0], atol=1e-6)
    state, _ = walk((4.0, 0.0), [(0.0, 1.0)] * 5)  # in it
    np.testing.assert_allclose(state.position, [4.0, 0.3], atol=1e-6)
    state, _ = walk((8.1, 0.9), [(-1.0, 0.0)] * 3)  # back, beside its other mouth
    np.testing.assert_allclose(state.position, [8.0, 0.9], atol=1e-6)


def test_two_rooms_pays_in_the_goal_that_the_cue_named() -> None:
    for cue in (1.0, -1.0):
        _, paid = walk((9.5, 0.8), [(0.0, 0.0)], cue)
        assert paid == [pytest.approx(1.0 if cue > 0 else -0.25, abs=1e-6)]
        _, paid = walk((9.5, -0.8), [(0.0, 0.0)], cue)
        assert paid == [pytest.approx(1.0 if cue < 0 else -0.25, abs=1e-6)]
        _, paid = walk((9.5, 0.0), [(0.5, 0.0)], cue)
        assert paid == [pytest.approx(0.01, abs=1e-6)]


def test_two_rooms_shows_the_cue_at_the_start_alone() -> None:
    env = TwoRooms()
    state = env.reset(jax.random.key(3))
    seen = []
    for _ in range(6):
        seen.append(float(env.observe(state)[2]))
        state, *_ = env.step(state, jnp.zeros(2), KEY)
    assert seen == [float(state.cue)] * 4 + [0.0, 0.0]


def test_either_cue_is_shown_in_half_of_the_episodes() -> None:
    cues = jax.vmap(TwoRooms().reset)(jax.random.split(jax.random.key(0), 400)).cue
    assert set(np.unique(cues)) == {-1, 1} and abs(float(cues.mean())) < 0.2


def test_two_rooms_needs_thirty_steps_from_cue_to_goal() -> None:
    goal = ROOM + HALL + ROOM / 2  # from the first room's east wall
    assert (goal - ROOM) / SPEED - CUE_STEPS >= 30


def test_the_door_opens_after_64_steps() -> None:
    env = TwoRoomsDoor()
    state = TwoRoomsState(jnp.array([1.0, 0.0]), jnp.float32(1.0), jnp.zeros((), jnp.int32))
    east, seen = jnp.array([1.0, 0.0]), []
    for _ in range(104):
        state, *_ = env.step(state, east, KEY)
        seen.append(float(state.position[0]))
    expected = [min(1.2 + 0.2 * n, 2.0) for n in range(64)]  # waiting at the door
    expected += [2.2 + 0.2 * n for n in range(40)]  # and on, to the far wall
    np.testing.assert_allclose(seen, expected, atol=1e-4)
    first = next(n for n, x in enumerate(seen) if x > 9.0 + 1e-3)
    assert first - 4 >= 90  # steps between the last that shows the cue and the goals


def test_behind_the_door_the_goals_meet_in_the_middle() -> None:
    for y, value in ((0.01, 1.0), (-0.01, -0.25)):
        state = TwoRoomsState(jnp.array([9.5, y]), jnp.float32(1.0), jnp.int32(100))
        _, paid, _ = TwoRoomsDoor().step(state, jnp.zeros(2), KEY)
        assert float(paid) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", PURE)
def test_pure_environments_are_gymnasium_environments(name: str) -> None:
    check_env(PureGym(PURE[name]()), skip_render_check=True)
    env = make(f"pure:{name}")
    env.reset(seed=1)
    for step in range(1, PURE[name].length + 1):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        assert not terminated and truncated == (step == PURE[name].length)


def test_a_pure_environment_before_reset_says_so() -> None:
    with pytest.raises(ValueError, match="call reset"):
        make("pure:pendulum").step(np.zeros(1, np.float32))


def test_unknown_pure_name() -> None:
    with pytest.raises(ValueError, match="did you mean 'pure:pendulum'"):
        make("pure:pendulun")


def test_pure_environments_in_the_agents_vector() -> None:
    envs = make_vector(EnvConfig(name="pure:two_rooms"), 2, seed=0)
    obs, _ = envs.reset()
    assert obs["observation"].shape == (2, 3)
    envs.close()


def test_vmapped_is_one_by_one() -> None:
    env = CartpoleSwingup()
    states = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 3))
    actions = jnp.array([[0.3], [-1.0], [1.0]])
    many, paid, _ = jax.jit(jax.vmap(env.step, (0, 0, None)))(states, actions, KEY)
    for i in range(3):
        one, value, _ = env.step(jax.tree.map(lambda x, n=i: x[n], states), actions[i], KEY)
        np.testing.assert_allclose(many.position[i], one.position, rtol=1e-5)
        np.testing.assert_allclose(paid[i], value, rtol=1e-5)
