"""The type checker that `conftest.py` puts round every function: beartype, where an int is a float.

`fps=5` for a `float` is right by PEP 484 and for mypy; beartype alone would refuse it.
"""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
