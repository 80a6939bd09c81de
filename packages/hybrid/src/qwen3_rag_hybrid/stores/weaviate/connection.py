"""`Connection`: a Weaviate collection through a client, with its requests and their errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from weaviate import WeaviateAsyncClient, WeaviateClient
from weaviate.classes.query import Filter
from weaviate.exceptions import UnexpectedStatusCodeError

from qwen3_rag.errors import InputError, InputTypeError, Qwen3RagError, StoreError
from qwen3_rag.integration import Call, Flow
from qwen3_rag_hybrid.stores.findings import no_collection
from qwen3_rag_hybrid.stores.reads import aside
from qwen3_rag_hybrid.stores.tenants import check_use

__all__ = ["Connection", "UnknownTenant"]

T = TypeVar("T")


class UnknownTenant(StoreError):
    """The tenant does not exist, so it has no documents."""


class Connection:
    """A collection, or one of its tenants, accessed through the caller's clients."""

    tenant: str | None = None

    def __init__(
        self,
        client: WeaviateClient,
        collection: str,
        async_client: WeaviateAsyncClient | None,
    ) -> None:
        """Check the clients; see `WeaviateStore`."""
        if not isinstance(client, WeaviateClient):
            raise InputTypeError(
                f"`client` must be a weaviate.WeaviateClient, got {type(client).__name__}. The "
                "searcher's async methods work with it too: they call it on a thread."
            )
        if async_client is not None and not isinstance(async_client, WeaviateAsyncClient):
            raise InputTypeError(
                "`async_client` must be a weaviate.WeaviateAsyncClient, got "
                f"{type(async_client).__name__}."
            )
        self.client = client
        self.async_client = async_client
        self.collection = collection
        # The client takes 0.2 ms to make one, and none of them has a state.
        self._whole = client.collections.use(collection)
        self._awaited = async_client and async_client.collections.use(collection)

    @property
    def name(self) -> str:
        """The collection's name for error messages."""
        return f"The collection {self.collection!r}"

    def _handle(self) -> Any:
        return self._of_tenant(self._whole)

    def _of_tenant(self, collection: Any) -> Any:
        return collection if self.tenant is None else collection.with_tenant(self.tenant)

    def _configuration(self) -> Any:
        """Read the collection's configuration; `None` if it does not exist."""
        try:
            return self._handle().config.get()
        except UnexpectedStatusCodeError as error:
            if error.status_code == 404:
                return None
            raise

    def _configured(self) -> Any:
        found = self._configuration()
        if found is None:
            raise StoreError(str(no_collection(self.collection)))
        return found

    def _passing(self, found: Sequence[Any], filter: Any) -> Sequence[Any]:
        if not found:
            return found
        among = Filter.by_id().contains_any([one.uuid for one in found])
        passing = self._handle().query.fetch_objects(
            filters=among & filter, limit=len(found), return_properties=False
        )
        uuids = {one.uuid for one in passing.objects}
        return [one for one in found if one.uuid in uuids]

    def _count(self, filter: Any) -> int:
        counted = self._handle().aggregate.over_all(total_count=True, filters=filter)
        return counted.total_count or 0

    def _ask(self, requests: Sequence[Callable[[Any], Any]]) -> Call:
        def blocking() -> list[Any]:
            queries = self._handle().query
            return [request(queries) for request in requests]

        async def awaited() -> list[Any]:
            queries = self._of_tenant(self._awaited).query
            return await asyncio.gather(*(request(queries) for request in requests))

        return Call(blocking, awaited)

    def _flow(self, action: str, flow: Flow[T], nothing: T) -> Flow[T]:
        """Run a flow, and convert the client's errors to `StoreError`.

        Args:
            action: What the flow does, for error messages.
            flow: The flow.
            nothing: The answer for a tenant that does not exist.
        """
        try:
            return (yield from flow)
        except Qwen3RagError:
            raise
        except Exception as error:
            failure = yield aside(partial(self._failure, action, error))
            if isinstance(failure, UnknownTenant):
                return nothing
            raise failure from error

    @contextmanager
    def _asking(self, action: str) -> Iterator[None]:
        """Convert the client's errors to `StoreError`."""
        try:
            yield
        except Qwen3RagError:
            raise
        except Exception as error:
            raise self._failure(action, error) from error

    def _failure(self, action: str, error: Exception) -> Qwen3RagError:
        try:
            found = self._configuration()
            if found is None:
                return StoreError(str(no_collection(self.collection)))
            check_use(self.name, found.multi_tenancy_config.enabled, self.tenant)
            if self.tenant is not None and not self._handle().tenants.exists(self.tenant):
                return UnknownTenant(f"{self.name} has no tenant {self.tenant!r}.")
        except InputError as misuse:
            return misuse
        except Exception:
            pass  # the server does not answer, as the first error says
        name = f"{self.name[0].lower()}{self.name[1:]}"
        return StoreError(f"{action} {name} failed: {type(error).__name__}: {error}")
