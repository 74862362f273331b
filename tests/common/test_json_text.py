"""Files hold JSON that every reader takes: null in place of what is not finite."""

import json
import math
import re

import numpy as np
from tree import FILES, ROOT

from common import dump_json, null_as_nan


def no_constant(name):
    raise AssertionError(name)


def test_what_is_not_finite_is_null_and_read_as_nan():
    tree = {"a": math.nan, "b": [1.5, -math.inf, {"c": np.float64("inf")}], "d": (True, "x", 3)}
    text = dump_json(tree)
    json.loads(text, parse_constant=no_constant)
    read = null_as_nan(json.loads(text))
    assert math.isnan(read["a"]) and math.isnan(read["b"][1]) and math.isnan(read["b"][2]["c"])
    assert read["b"][0] == 1.5 and read["d"] == [True, "x", 3]


def test_all_json_is_written_by_it():
    for path in FILES:
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] not in ("common", "tests"):
            assert not re.search(r"json\.dumps?\(", path.read_text(encoding="utf-8")), path
