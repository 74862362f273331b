"""Environments as pure JAX functions: collection and learning compile into one program."""

from envs.pure.cartpole import CartpoleSwingup, CartpoleSwingupSparse
from envs.pure.environment import PureEnv, PureGym, Transition
from envs.pure.named import make_pure, make_pure_agent_env
from envs.pure.of_gymnax import Gymnax
from envs.pure.of_navix import Navix
from envs.pure.pendulum import Pendulum
from envs.pure.reacher import Reacher
from envs.pure.two_rooms import TwoRooms, TwoRoomsDoor

__all__ = [
    "CartpoleSwingup",
    "CartpoleSwingupSparse",
    "Gymnax",
    "Navix",
    "Pendulum",
    "PureEnv",
    "PureGym",
    "Reacher",
    "Transition",
    "TwoRooms",
    "TwoRoomsDoor",
    "make_pure",
    "make_pure_agent_env",
]
