"""Fields and their values to a filter of the embedded store: the one place that knows its client.

Knows nothing of what the fields mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qdrant_edge import FieldCondition, Filter, MatchAny

__all__ = ["all_of"]


def all_of(wanted: Mapping[str, Sequence[str]]) -> Filter:
    """Each field has one of its values."""
    return Filter(
        must=[
            FieldCondition(key=name, match=MatchAny(list(values)))
            for name, values in wanted.items()
        ]
    )
