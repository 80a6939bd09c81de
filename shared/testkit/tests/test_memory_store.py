"""The store in memory does what every store does, with and without a native async form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_hybrid import Store
from qwen3_rag_testkit.memory_store import MemoryFilter, MemoryStore
from qwen3_rag_testkit.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    native_async = False

    @pytest.fixture(autouse=True)
    def _database(self) -> None:
        self.database: dict[str, Any] = {}

    def open_store(self, folder: Path) -> Store:
        return MemoryStore(self.database, str(folder), native_async=self.native_async)

    def equals(self, field: str, value: str) -> MemoryFilter:
        return MemoryFilter(field, value)


class TestNativeAsync(TestMemoryStore):
    native_async = True
