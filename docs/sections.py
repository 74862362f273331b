"""Makes griffe, which mkdocstrings reads the code by, see this code's sections of docstrings: they
follow one another without an empty line."""

import re
from typing import Any

import griffe


class Sections(griffe.Extension):
    """An empty line before each section."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Of every module, class, function and attribute."""
        if obj.docstring:
            heads = r"(?<!\n)\n(Args|Returns|Raises):\n"
            obj.docstring.value = re.sub(heads, r"\n\n\1:\n", obj.docstring.value)
