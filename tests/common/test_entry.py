"""How commands end: which errors are one line, and where a traceback begins."""

import errno
import io
import os
import subprocess
import sys

import pytest
from house_tree import ROOT

from common import EnvironmentFailed, RunFailed, UserError
from common.entry import enter

USERS = """
from json import loads

def step():
    return helper()

def helper():
    return loads("{")
"""


def ended(raises):
    def main():
        raise raises

    with pytest.raises(SystemExit) as stop:
        enter(main)
    return stop.value.code


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("strides: expected one"), 2, "error: strides: expected one\n"),
        (RunFailed("step 3: the disk is full"), 1, "error: step 3: the disk is full\n"),
        (UserError("a\x1b[2J\r\x9bb\u202ec\td\né"), 2, "error: a\\x1b[2J\\r\\x9bb\\u202ec\td\né\n"),
    ],
)
def test_what_is_meant_for_users_is_one_line(error, code, line, capsys):
    assert ended(error) == code
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (errno.ENOSPC, 1, "expected room on the disk, received: No space left"),
        (errno.EFBIG, 1, "make room, then run the same command to resume"),
        (errno.EROFS, 2, "expected a readable and writable path, received: Read-only"),
        (errno.EACCES, 2, "Permission denied; change its permissions"),
    ],
)
def test_what_the_disk_refuses_is_one_line(number, code, words, capsys):
    assert ended(OSError(number, os.strerror(number), "runs/a")) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: runs/a: ") and words in line
    with pytest.raises(ConnectionResetError):  # any other keeps its traceback
        enter(lambda: (_ for _ in ()).throw(OSError(errno.ECONNRESET, "reset")))


@pytest.mark.parametrize("end", ["", "; sys.exit(0)"])
@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_reader_that_leaves_ends_a_command_quietly(size, end):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from common.entry import enter\n"
    code += f"def main(): print('x' * {size}){end}\nenter(main)"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_another_pipe_that_breaks_is_an_error():
    with pytest.raises(BrokenPipeError):
        enter(lambda: (_ for _ in ()).throw(BrokenPipeError(errno.EPIPE, "of a worker")))


@pytest.mark.parametrize("error", [ValueError("ours"), TypeError("ours"), RuntimeError("ours")])
def test_faults_of_ours_keep_their_traceback(error):
    with pytest.raises(type(error), match="ours"):
        enter(lambda: (_ for _ in ()).throw(error))


def test_a_character_that_a_terminal_lacks_is_written_as_its_number(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    enter(lambda: print("return \u00b1 2, \u2588"))
    sys.stdout.flush()
    assert raw.getvalue() == b"return \\xb1 2, \\u2588\n"


def test_a_traceback_begins_in_the_users_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "someones_env.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("common.entry.BETWEEN", set(sys.stdlib_module_names) | {"tests", __name__})

    def main():
        import someones_env

        try:
            someones_env.step()
        except ValueError as error:
            raise EnvironmentFailed("environment x, index 0, step 3: step raised") from error

    with pytest.raises(SystemExit) as stop:
        enter(main)
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 1
    assert lines[0].startswith("Traceback") and "someones_env.py" in lines[1]
    assert "in step" in lines[1] and not any(__file__ in line for line in lines)
    assert lines[-2].startswith("json.decoder.JSONDecodeError")
    assert lines[-1] == "error: environment x, index 0, step 3: step raised"


def test_a_traceback_of_our_own_environment_is_shown_whole(capsys):
    def main():
        try:
            int("3.5")
        except ValueError as error:
            raise EnvironmentFailed("environment ours") from error

    with pytest.raises(SystemExit):
        enter(main)
    assert "in main" in capsys.readouterr().err
