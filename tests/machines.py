"""Machines that are network namespaces of this one: each has an address, and no other way out."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import pytest

LACKING = re.compile(r"not permitted|permission denied|unknown device type|not supported", re.I)
"""What `ip` says where permission is missing, or the kernel has no bridges or cables."""


class Machine(NamedTuple):
    """One of several on a switch."""

    name: str
    address: str

    @property
    def prefix(self) -> list[str]:
        """Of a command that is to run there."""
        return ["ip", "netns", "exec", self.name]

    def unplug(self) -> None:
        """Takes its cable out: what it is sent is lost from then on, and no one is told."""
        _ip("-n", self.name, "link", "set", "cable", "down")


def _ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True)


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """``count`` machines that reach only each other; the test is skipped where `ip`, permission or
    the kernel's devices are missing."""
    switch = f"switch{os.getpid()}"
    made = [Machine(f"m{os.getpid()}-{i}", f"10.77.0.{i + 1}") for i in range(count)]
    if shutil.which("ip") is None:
        pytest.skip("network namespaces need the command ip")
    try:
        try:
            _build(switch, made)
        except subprocess.CalledProcessError as error:
            told = error.stderr.decode().strip()
            assert LACKING.search(told), f"{error}: {told}"
            pytest.skip(f"network namespaces cannot be made: {told}")
        yield made
    finally:
        for name in (switch, *(machine.name for machine in made)):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", name)


def _build(switch: str, made: Sequence[Machine]) -> None:
    _ip("netns", "add", switch)
    _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
    _ip("-n", switch, "link", "set", "bridge", "up")
    for i, machine in enumerate(made):
        _ip("netns", "add", machine.name)
        ends = "type", "veth", "peer", "name", "cable", "netns", machine.name
        _ip("-n", switch, "link", "add", f"port{i}", *ends)
        _ip("-n", switch, "link", "set", f"port{i}", "master", "bridge", "up")
        _ip("-n", machine.name, "address", "add", f"{machine.address}/24", "dev", "cable")
        for device in ("lo", "cable"):
            _ip("-n", machine.name, "link", "set", device, "up")


def free_address() -> str:
    """Of this machine, at which no one listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def ray_node(*flags: str, prefix: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """A machine of a cluster of Ray, as `ray start` makes it, in a session of its own."""
    least = ["--block", "--disable-usage-stats", "--include-log-monitor=false"]
    least += ["--object-store-memory", str(80 * 2**20)]
    command = [*prefix, sys.executable, "-m", "ray.scripts.scripts", "start", *flags, *least]
    settings = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}  # whatever lies here
    process = subprocess.Popen(
        command,
        start_new_session=True,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert any("--block" in line for line in process.stdout)  # which it says once it runs
        yield process
    finally:
        process.terminate()  # which ends all that it started
        process.communicate()
