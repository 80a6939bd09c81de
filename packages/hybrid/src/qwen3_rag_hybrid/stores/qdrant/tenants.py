"""Tenants in Qdrant: the payload field that has them, and how it is filtered by and listed.

The classes of qdrant-client and Qdrant Edge have the same names, so either package will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["FIRST_TENANTS", "TENANT", "of_tenant", "payload_of", "tenants_of", "within"]

#: Payload field with the document's tenant.
TENANT = "_tenant"

#: Number of tenants to request at first, and ten times as many if there are more.
FIRST_TENANTS = 1_000


def payload_of(tenant: str | None) -> dict[str, str]:
    """Make the payload that says whose a document is."""
    return {} if tenant is None else {TENANT: tenant}


def of_tenant(package: Any, tenant: str) -> Any:
    """Make the filter that a tenant's documents pass, of the package's classes."""
    condition = package.FieldCondition(key=TENANT, match=package.MatchValue(value=tenant))
    return package.Filter(must=[condition])


def within(package: Any, tenant: str | None, filter: Any) -> Any:
    """Restrict the caller's filter to a tenant, if there is one.

    Args:
        package: Has the classes of filters.
        tenant: The tenant.
        filter: The caller's filter, or `None`.
    """
    if tenant is None:
        return filter
    own = of_tenant(package, tenant)
    return own if filter is None else package.Filter(must=[own, filter])


def tenants_of(hits: Sequence[Any]) -> list[str]:
    """Read the tenants that have documents from the counts of the field's values."""
    return sorted(str(hit.value) for hit in hits if hit.count)
