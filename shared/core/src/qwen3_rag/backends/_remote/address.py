"""Checks a server's address and headers, and knows vendors by their host names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from qwen3_rag._address import read_address
from qwen3_rag.errors import InputError, InputTypeError

__all__ = ["check_address", "check_headers", "vendor"]

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

#: Ends of vendors' host names, and the API that they speak.
VENDORS = {
    "dashscope.aliyuncs.com": "dashscope",
    "dashscope-intl.aliyuncs.com": "dashscope",
    "dashscope-us.aliyuncs.com": "dashscope",
    "maas.aliyuncs.com": "dashscope",
    "api.siliconflow.cn": "siliconflow",
    "api.siliconflow.com": "siliconflow",
    "api.deepinfra.com": "deepinfra",
    "openrouter.ai": "openrouter",
}

#: What other clients write behind an address. The paths of these APIs contain it.
ENDINGS = {
    "dashscope": ("/compatible-mode/v1", "/compatible-api/v1", "/api/v1"),
    "deepinfra": ("/v1/openai", "/v1/inference"),
}


def check_address(address: str, api: str | None = None) -> str:
    """Check an address, and remove an ending that the API's paths contain, such as `/v1`.

    Args:
        address: The address.
        api: What the server speaks, if that is known.

    Raises:
        InputTypeError: It is no string.
        InputError: It is no HTTP address, or holds a password, a query or a fragment.
    """
    parts = read_address(address)
    short = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
    for ending in (*ENDINGS.get(api or vendor(short) or "", ()), "/v1", "/v2"):
        if short.endswith(ending):
            return short.removesuffix(ending)
    return short


def vendor(address: str) -> str | None:
    """Return the API of the vendor whose host an address names; `None` if it is another host."""
    host = urlsplit(address).hostname or ""
    return next(
        (api for end, api in VENDORS.items() if host == end or host.endswith(f".{end}")), None
    )


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Check that headers are texts.

    Raises:
        InputTypeError: They are not. The values are not shown: one may be a secret.
        InputError: One cannot be sent.
    """
    if not isinstance(headers, Mapping) or not all(
        isinstance(name, str) and isinstance(text, str) for name, text in headers.items()
    ):
        raise InputTypeError("`headers` must be a mapping of names to texts.")
    for name, text in headers.items():
        if not _NAME.fullmatch(name) or not (text.isascii() and (text.isprintable() or not text)):
            raise InputError(
                f"The header {name!r} cannot be sent: names have letters, digits and dashes, and "
                "values printable ASCII characters."
            )
        if name.lower() in ("content-length", "transfer-encoding"):
            raise InputError(f"The header {name!r} is set for each request. Leave it out.")
    return dict(headers)
