"""Tenants of a collection: their names, and whether a caller names one where there are any."""

from __future__ import annotations

from qwen3_rag.errors import InputError
from qwen3_rag.integration import check_text

__all__ = ["check_tenant", "check_use", "check_whole"]


def check_tenant(tenant: str) -> str:
    """Check a tenant's name, which may be any string that is not empty.

    Raises:
        InputTypeError: It is not a string.
        InputError: It is empty, or has a lone surrogate.
    """
    if not check_text(tenant, "tenant"):
        raise InputError("A tenant's name must not be empty.")
    return tenant


def check_use(name: str, has_tenants: bool, tenant: str | None) -> None:
    """Reject a use of documents that names a tenant where there are none, or names none.

    Args:
        name: The collection's name for error messages.
        has_tenants: Whether the collection has tenants.
        tenant: The tenant that the caller named.

    Raises:
        InputError: The two do not fit.
    """
    if has_tenants and tenant is None:
        raise InputError(
            f"{name} has tenants, and the call names none. Pass `tenant=NAME` to the searcher's "
            "methods, or use `store.for_tenant(NAME)`."
        )
    if tenant is not None and not has_tenants:
        raise InputError(
            f"{name} has no tenants, but the call names the tenant {tenant!r}. Leave `tenant` out, "
            "or make a new collection with `create(tenants=True)`."
        )


def check_whole(name: str, tenant: str | None) -> None:
    """Reject a use of all tenants by a store that is for one.

    Args:
        name: The collection's name for error messages.
        tenant: The store's tenant.

    Raises:
        InputError: The store is for one tenant.
    """
    if tenant is not None:
        raise InputError(
            f"{name} was opened for the tenant {tenant!r} alone. Use the store that "
            "`for_tenant` was called on."
        )
