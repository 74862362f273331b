"""Signals end what is done in order, say so while a program computes, and at the second at once."""

import os
import signal
import subprocess
import sys
import time

import pytest
from processes import PATIENCE, ROOT

BUSY = """
import hashlib, sys, threading, time
from common.entry import enter
from common.signals import first_signal

def main():
    state = {"stopped": False}
    how = sys.argv[1]
    with first_signal("saving", (lambda: state.update(stopped=True)) if how == "order" else None):
        ready = threading.Timer(1.0 if how == "busy" else 0.0, print, ["ready"], {"flush": True})
        ready.start()
        if how == "busy":
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # minutes, without the interpreter
        while not state["stopped"]:
            time.sleep(0.01)
    print("saved", flush=True)

enter(main)
"""


def started(how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, how],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_in_order(number):
    process = started("order")
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and out == "saved\n"
    assert err == "saving; a second signal ends at once\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_where_nothing_waits_for_it_it_ends_in_one_line(number):
    process = started("raise")
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number and out == ""
    assert err == "saving; a second signal ends at once\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_busy_program_says_so_at_once_and_a_second_signal_ends_it(number):
    process = started("busy")
    process.send_signal(number)
    began = time.monotonic()
    assert process.stderr is not None
    assert process.stderr.readline() == "saving; a second signal ends at once\n"
    process.send_signal(number)
    process.communicate(timeout=PATIENCE)
    assert process.returncode in (128 + number, -number)  # which a shell shows alike
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_within_a_finalizer_is_not_lost(number):
    """Python drops what is raised there, and tells it with a traceback."""
    slow = """
    class Slow:
        def __del__(self):
            print("ready", flush=True)
            until = time.monotonic() + 1
            while time.monotonic() < until:
                pass
    def use():
        Slow()
        time.sleep(60)
"""
    program = BUSY.replace("def main():", "def main():" + slow, 1)
    program = program.replace(
        "        ready = threading", "        use()\n        ready = threading"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "raise"], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert err == "saving; a second signal ends at once\n"


def test_a_signal_while_jax_compiles_ends_in_one_line():
    """An interpreter that ends after it crashed: a segmentation fault, code 139."""
    compiling = """
    import jax, jax.numpy as jnp
    def many(x):
        for i in range(300):
            x = jnp.sin(x @ x + i) * jnp.tanh(x)
        return x
    threading.Timer(1.0, print, ["ready"], {"flush": True}).start()
    jax.jit(many).lower(jnp.ones((8, 8))).compile()
    time.sleep(60)
"""
    program = BUSY.replace("def main():", "def main():" + compiling, 1)
    plain = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    plain["JAX_PLATFORMS"] = "cpu"  # an accelerator's library may have something to say
    process = subprocess.Popen(
        [sys.executable, "-c", program, "raise"], cwd=ROOT, env=plain, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err == "stopping; a second signal ends at once\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_while_the_interpreter_ends_prints_nothing(number):
    slow = "import atexit\natexit.register(lambda: (print('ending', flush=True), time.sleep(60)))"
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY.replace("enter(main)", f"{slow}\nenter(main)"), "order"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    for line, sent in (("ready\n", True), ("saved\n", False), ("ending\n", True)):
        assert process.stdout.readline() == line
        if sent:
            process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == -number and err == "saving; a second signal ends at once\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_all_is_done_prints_nothing(number):
    slow = "import atexit, time\n"
    slow += "atexit.register(lambda: (print('ending', flush=True), time.sleep(60)))"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{slow}\nfrom common.entry import enter\nenter(lambda: None)"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdout.readline() == "ending\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == -number and err == ""
