"""The run-time type checker of the tests: beartype, with an integer allowed where a float is."""

from beartype import BeartypeConf
from beartype import beartype as _beartype

beartype = _beartype(conf=BeartypeConf(is_pep484_tower=True))
