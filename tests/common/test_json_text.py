"""Files hold JSON that every reader takes: null in place of what is not finite."""

import json
import math
import re

import numpy as np
import pytest
from house_tree import FILES, ROOT

from common import UserError, dump_json, null_as_nan, read_json
from training.build_video import is_video_run


def no_constant(name):
    raise AssertionError(name)


def test_what_is_not_finite_is_null_and_read_as_nan():
    tree = {"a": math.nan, "b": [1.5, -math.inf, {"c": np.float64("inf")}], "d": (True, "x", 3)}
    text = dump_json(tree)
    json.loads(text, parse_constant=no_constant)
    read = null_as_nan(json.loads(text))
    assert math.isnan(read["a"]) and math.isnan(read["b"][1]) and math.isnan(read["b"][2]["c"])
    assert read["b"][0] == 1.5 and read["d"] == [True, "x", 3]


@pytest.mark.parametrize("text", ["{", "[" * 100_000, ""], ids=["cut", "deep", "empty"])
def test_a_file_that_is_no_json_is_named(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UserError, match="config.json: expected JSON, received: .*; restore"):
        read_json(path)
    with pytest.raises(UserError, match="config.json: expected JSON"):
        is_video_run(tmp_path)


def test_all_json_is_written_by_it():
    """But for the headers of frames of the program that runs in MineRL's Python, which has nothing
    of ours and whose numbers are arrays beside them."""
    for path in FILES:
        if path == ROOT / "envs" / "minerl" / "game.py":
            continue
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] not in ("common", "tests"):
            assert not re.search(r"json\.dumps?\(", path.read_text(encoding="utf-8")), path
