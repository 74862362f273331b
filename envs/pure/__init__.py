"""Environments as pure JAX functions: collection and learning compile into one program."""

from envs.pure.cartpole import CartpoleSwingup
from envs.pure.environment import PureEnv, PureGym
from envs.pure.pendulum import Pendulum
from envs.pure.two_rooms import TwoRooms, TwoRoomsDoor

__all__ = ["CartpoleSwingup", "Pendulum", "PureEnv", "PureGym", "TwoRooms", "TwoRoomsDoor"]
