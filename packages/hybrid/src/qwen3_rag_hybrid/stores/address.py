"""`StoreAddress`: where a collection is, as one line of text without any secret."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from qwen3_rag.errors import InputError, InputTypeError
from qwen3_rag.integration import full_path

__all__ = ["KEY_VARIABLES", "Kind", "StoreAddress"]

Kind: TypeAlias = Literal["edge", "qdrant", "weaviate", "milvus"]

#: The environment variables with the servers' keys.
KEY_VARIABLES: Mapping[str, str] = {
    "qdrant": "QDRANT_API_KEY",
    "weaviate": "WEAVIATE_API_KEY",
    "milvus": "MILVUS_TOKEN",
}

#: How addresses look.
FORMS = (
    "a folder, qdrant://HOST:6333/COLLECTION, weaviate://HOST:8080/COLLECTION, "
    "milvus://HOST:19530/COLLECTION (with TLS qdrant+https:// and so on), "
    "milvus:FILE.db/COLLECTION or qdrant:FOLDER/COLLECTION"
)

_KINDS: Mapping[str, Kind] = {"qdrant": "qdrant", "weaviate": "weaviate", "milvus": "milvus"}
_PORTS = {"qdrant": 6333, "weaviate": 8080, "milvus": 19530}
_SCHEME = re.compile(r"(?P<kind>[A-Za-z][A-Za-z0-9]+)(?:\+(?P<transport>\w+))?:(?P<rest>.*)", re.S)
# Options that say how to connect; all others are names, which the store takes.
_GRPC_OPTIONS = {"qdrant": {"grpc_port"}, "weaviate": {"grpc_port", "grpc_host"}}
_SECRET = re.compile(r"^key$|api.?key|access|auth|passw|secret|token", re.I)


@dataclass(frozen=True, kw_only=True)
class StoreAddress:
    """Where a collection is. `str()` gives the address back; it never has a key.

    Attributes:
        kind: The store: `"edge"` for a folder, `"qdrant"`, `"weaviate"` or `"milvus"`.
        collection: Name of the collection; empty for a folder.
        path: Folder or file on this machine; `None` for a server.
        host: The server's name or IP address; empty without a server.
        port: Its port; `None` if the address has none.
        tls: Whether the connection is encrypted.
        database: The database of Milvus; empty for the default one.
        grpc_host: Host of the gRPC interface, if it differs.
        grpc_port: Port of the gRPC interface; `None` if the address has none.
        names: Further arguments of the store, such as `text_key`.
    """

    kind: Kind
    collection: str = ""
    path: Path | None = None
    host: str = ""
    port: int | None = None
    tls: bool = False
    database: str = ""
    grpc_host: str = ""
    grpc_port: int | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, address: str | os.PathLike[str]) -> StoreAddress:
        """Read an address.

        Args:
            address: A folder; `qdrant://HOST:PORT/COLLECTION`, with `weaviate` or `milvus` instead
                of `qdrant`, and `+https` after it for TLS; or `milvus:FILE.db/COLLECTION` and
                `qdrant:FOLDER/COLLECTION` for Milvus Lite and Qdrant's local mode. After a `?`,
                `grpc_port` and names, such as `text_key=page_content`, can follow.

        Raises:
            InputError: It is none of these, or has a user name, password or key in it. The message
                does not repeat those.
            InputTypeError: It is neither a string nor a path.
        """
        if isinstance(address, Path) or not isinstance(address, str):
            if not isinstance(address, os.PathLike):
                raise InputTypeError(
                    f"A store's address must be a str or a path, got {type(address).__name__}."
                )
            return cls(kind="edge", path=Path(address))
        found = _SCHEME.fullmatch(address)
        kind = _KINDS.get(found["kind"].lower()) if found else None
        if found is None or kind is None:
            if not address or "://" in address:
                raise InputError(f"A store is {FORMS}, got {_shown(address)!r}.")
            return cls(kind="edge", path=Path(address))
        if found["transport"] not in (None, "http", "https"):
            raise InputError(
                f"{_shown(address)!r} begins with {kind}+{found['transport']}; write {kind}:// or, "
                f"with TLS, {kind}+https://."
            )
        rest, _, query = found["rest"].partition("?")
        options = _options(kind, query, address)
        if rest.startswith("//") and not rest.startswith("///"):
            return _on_server(kind, rest, found["transport"] == "https", options, address)
        return _on_disk(kind, rest.removeprefix("//"), options, address)

    @property
    def server(self) -> str:
        """The server as a URL, `http://HOST:PORT`, without the collection."""
        port = self.port
        if port is None and not self.tls:
            port = _PORTS[self.kind]
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}{'' if port is None else f':{port}'}"

    def __str__(self) -> str:
        if self.kind == "edge":
            return str(self.path)
        options = {
            name: str(value)
            for name, value in (("grpc_host", self.grpc_host), ("grpc_port", self.grpc_port))
            if value
        } | dict(self.names)
        query = f"?{urlencode(options)}" if options else ""
        name = quote(self.collection, safe="")
        if self.path is not None:
            return f"{self.kind}:{self.path.as_posix()}/{name}{query}"
        before = f"{quote(self.database, safe='')}/" if self.database else ""
        _, _, place = self.server.partition("://")
        scheme = f"{self.kind}+https" if self.tls else self.kind
        return f"{scheme}://{place}/{before}{name}{query}"


def _on_server(
    kind: Kind, rest: str, tls: bool, options: Mapping[str, str], address: str
) -> StoreAddress:
    try:
        split = urlsplit(f"http:{rest}")
        host, port = split.hostname or "", split.port
    except ValueError:
        raise InputError(
            f"{_shown(address)!r} has no valid host and port. A store is {FORMS}."
        ) from None
    if "@" in split.netloc:
        raise InputError(
            f"The address {_shown(address)!r} has a user name or password in it, and addresses are "
            f"shown and kept. Leave it out, and set the environment variable {KEY_VARIABLES[kind]}."
        )
    database, *names = [unquote(part) for part in split.path.strip("/").split("/")]
    if not names:
        names, database = [database], ""
    is_named = len(names) == 1 and names[0] and not split.fragment
    if not host or not is_named or (database and kind != "milvus"):
        form = f"{kind}://HOST:{_PORTS[kind]}/COLLECTION"
        raise InputError(
            f"The address {_shown(address)!r} must name a host and one collection: {form}"
            + (", or milvus://HOST:19530/DATABASE/COLLECTION." if kind == "milvus" else ".")
        )
    grpc = {name: value for name, value in options.items() if name in _GRPC_OPTIONS.get(kind, ())}
    grpc_port = grpc.get("grpc_port")
    if grpc_port is not None and not (grpc_port.isdecimal() and 0 < int(grpc_port) < 65_536):
        raise InputError(f"`grpc_port` must be a port from 1 to 65535, got {grpc_port!r}.")
    return StoreAddress(
        kind=kind,
        collection=names[0],
        host=host,
        port=port,
        tls=tls,
        database=database,
        grpc_host=grpc.get("grpc_host", ""),
        grpc_port=None if grpc_port is None else int(grpc_port),
        names={name: value for name, value in options.items() if name not in grpc},
    )


def _on_disk(kind: Kind, rest: str, options: Mapping[str, str], address: str) -> StoreAddress:
    path, _, name = rest.rpartition("/")
    if kind == "weaviate":
        raise InputError(
            f"{_shown(address)!r} names no host, and Weaviate is always a server. Write "
            f"weaviate://HOST:{_PORTS[kind]}/COLLECTION."
        )
    if not path or not name or (kind == "milvus" and not path.endswith(".db")):
        form = "milvus:FILE.db/COLLECTION" if kind == "milvus" else "qdrant:FOLDER/COLLECTION"
        raise InputError(
            f"{_shown(address)!r} must name a place on this machine and a collection: {form}, or a "
            f"server: {kind}://HOST:{_PORTS[kind]}/COLLECTION."
        )
    full_path(path)  # refuses what is none
    return StoreAddress(
        kind=kind, collection=unquote(name), path=Path(path).expanduser(), names=options
    )


def _options(kind: Kind, query: str, address: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if _SECRET.search(name):
            raise InputError(
                f"The address {_shown(address)!r} has the option {name!r}, and addresses are shown "
                f"and kept. Set the environment variable {KEY_VARIABLES[kind]} instead."
            )
    return options


def _shown(address: str) -> str:
    """Return what of an address may be shown: no user name, password or options."""
    return re.sub(r"//.*@", "//***@", address.partition("?")[0], flags=re.S)
