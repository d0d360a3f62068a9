"""Values of every supported type, for hypothesis, and an exact comparison of values."""

from __future__ import annotations

import struct
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

# Any offset that Python supports, down to the microsecond.
zones = st.none() | st.builds(
    timezone, st.timedeltas(timedelta(hours=-24, microseconds=1), timedelta(hours=24, microseconds=-1))
)
folds = st.sampled_from([0, 1])
datetimes = st.builds(lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.datetimes(), zones, folds)
times = st.builds(lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.times(), zones, folds)
integers = (
    st.integers() | st.integers(-(2**70), 2**70) | st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
)
keepable = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    st.floats(),
    keepable,
    st.binary(),
    datetimes,
    st.dates(),
    times,
    st.timedeltas(),
    st.uuids(),
    st.decimals(),
)
dict_keys = st.one_of(keepable, integers, st.booleans(), st.binary(), st.none())
# A signalling NaN cannot be in a set.
_hashable_scalars = scalars.filter(lambda value: str(value).lstrip("-")[:4] != "sNaN")
hashables = st.recursive(
    _hashable_scalars,
    lambda children: st.lists(children, max_size=4).map(tuple) | st.frozensets(children, max_size=4),
    max_leaves=8,
)


def _containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(children, max_size=4),
        st.lists(children, max_size=4).map(tuple),
        st.dictionaries(dict_keys, children, max_size=4),
    )


values = st.recursive(scalars | hashables | st.sets(hashables, max_size=4), _containers, max_leaves=12)


def shape(value: Any) -> Any:
    """Return a form of ``value`` whose comparison also covers types, the sign of zero, NaN, fold and offset."""
    kind = type(value)
    if kind is float:
        return kind, struct.pack(">d", value)
    if kind in (datetime, time):
        return kind, value.isoformat(), value.fold, value.utcoffset()
    if kind in (list, tuple):
        return kind, [shape(item) for item in value]
    if kind in (set, frozenset):
        return kind, sorted((shape(item) for item in value), key=repr)
    if kind is dict:
        return kind, [(shape(key), shape(item)) for key, item in value.items()]
    if kind in (date, timedelta):
        return kind, repr(value)
    return kind, str(value) if kind.__name__ == "Decimal" else value
