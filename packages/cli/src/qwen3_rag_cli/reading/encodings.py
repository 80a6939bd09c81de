"""The names of encodings, and Python's codecs for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qwen3_rag.errors import InputError

__all__ = ["chosen_encoding", "codecs_of"]

# In place of an encoding's name: detect it.
AUTO = "auto"

# How the encodings that the web calls by these names are decoded, most likely first. The codecs are
# supersets: much text that is called GB2312 or Shift_JIS has characters that only they have.
_CODECS = {
    "ascii": ("cp1252", "latin_1"),
    "big5": ("cp950", "big5hkscs"),
    "cp949": ("cp949",),
    "euc_jp": ("euc_jp", "euc_jis_2004"),
    "euc_kr": ("cp949",),
    "gb18030": ("gb18030",),
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "iso_8859_1": ("cp1252", "latin_1"),
    "iso_8859_8_i": ("iso8859_8",),
    "iso_8859_9": ("cp1254",),
    "iso_8859_11": ("cp874",),
    "ks_c_5601_1987": ("cp949",),
    "latin1": ("cp1252", "latin_1"),
    "latin_1": ("cp1252", "latin_1"),
    "shift_jis": ("cp932", "shift_jis_2004"),
    "sjis": ("cp932", "shift_jis_2004"),
    "tis_620": ("cp874",),
    "us_ascii": ("cp1252", "latin_1"),
    "utf8": ("utf_8",),
    "windows_31j": ("cp932",),
    "windows_874": ("cp874",),
    "windows_949": ("cp949",),
    "x_gbk": ("gb18030",),
    "x_sjis": ("cp932", "shift_jis_2004"),
}


def chosen_encoding(given: str | None, recorded: Mapping[str, Any]) -> str | None:
    """Return the encoding of text that is not UTF-8, `None` for detection.

    Args:
        given: The value from the command line.
        recorded: The index's record; empty for a new index.

    Raises:
        InputError: There is no such encoding.
    """
    if given is None:
        known: str | None = recorded.get("encoding")
        return known
    if given == AUTO:
        return None
    try:
        for codec in codecs_of(given):
            "".encode(codec)
    except (LookupError, ValueError):
        raise InputError(
            f"`--encoding` must be {AUTO} or an encoding that Python knows, such as gb18030, "
            f"shift_jis, euc_kr, windows-1251 or latin-1, got {given!r}."
        ) from None
    return given


def codecs_of(name: str) -> tuple[str, ...]:
    """Return Python's codecs for an encoding, in the order in which to try them."""
    normal = name.strip().lower().replace("-", "_").replace(" ", "_")
    return _CODECS.get(normal, (normal,))
