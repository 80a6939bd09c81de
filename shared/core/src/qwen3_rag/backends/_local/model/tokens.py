"""Prompts to token ids, and how much of each text fits.

User text is encoded by a copy of the tokenizer that has no added tokens, so that `<|im_end|>` or
`<think>` in a document stays text; only the two control segments are read with them. Knows no
tensors and no batches.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer

from qwen3_rag._prompts import RERANK_PREFIX, RERANK_SUFFIX, EmbedPrompt, Prompt, RerankPrompt
from qwen3_rag._published import Role
from qwen3_rag.backends._base import WHOLE, Limits
from qwen3_rag.backends._local.serving.batching import TokenSequence
from qwen3_rag.backends._local.serving.loaded import Encoded
from qwen3_rag.errors import InputError, ModelError

__all__ = ["DEFAULT_MAX_LENGTH", "PromptTokenizer"]

#: Tokens of a prompt when the caller says nothing; the authors' own scripts use the same.
DEFAULT_MAX_LENGTH = 8_192

END_TOKEN = "<|endoftext|>"

# A window of this many characters per allowed token is enough for nearly all text; where it is
# not (long runs of spaces are one token), the window doubles.
CHARACTERS_PER_TOKEN = 6

# Tokens this close to the end of a window may differ from those of the whole text: the window may
# have cut a word. Longer words than this do not occur in text.
WINDOW_MARGIN = 256


class PromptTokenizer:
    """Encodes prompts for one checkpoint."""

    def __init__(self, definition: str, role: Role, *, name: str) -> None:
        """Read a tokenizer.

        Args:
            definition: The content of `tokenizer.json`.
            role: What the checkpoint does.
            name: The model's name, for messages.

        Raises:
            ModelError: The definition cannot be read, or lacks a token the prompts need.
        """
        try:
            full = Tokenizer.from_str(definition)
            plain = json.loads(definition)
            # Without its added tokens the tokenizer cannot emit one. `encode_special_tokens` is
            # not enough: it lets those through whose `special` flag is false, such as `<think>`.
            plain |= {
                "added_tokens": [],
                "post_processor": None,
                "truncation": None,
                "padding": None,
            }
            self._plain = Tokenizer.from_str(json.dumps(plain))
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelError(
                f"The tokenizer of {name!r} cannot be read: {error}. "
                "Fetch the checkpoint's tokenizer.json again."
            ) from error
        full.no_truncation()
        full.no_padding()
        self._name = name
        self.size = full.get_vocab_size()
        if role == "embedding":
            self.end = self._find_end(full)
        else:
            self.prefix = self._control(full, RERANK_PREFIX)
            self.suffix = self._control(full, RERANK_SUFFIX)
            self.yes, self.no = self._single("yes"), self._single("no")

    @classmethod
    def from_folder(cls, folder: Path, role: Role, *, name: str) -> PromptTokenizer:
        """Read `tokenizer.json` of a checkpoint folder."""
        try:
            definition = (folder / "tokenizer.json").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(
                f"The tokenizer of {name!r} cannot be read: {error}. "
                "The folder needs the checkpoint's tokenizer.json."
            ) from error
        return cls(definition, role, name=name)

    def encode(self, prompts: Sequence[Prompt], limits: Limits, context: int) -> list[Encoded]:
        """Encode prompts, cutting what does not fit.

        Args:
            prompts: All of one role.
            limits: Token budgets.
            context: The model's longest input, which bounds `limits.max_length`.

        Raises:
            InputError: An instruction or query leaves no room for the text behind it.
        """
        longest = min(limits.max_length or DEFAULT_MAX_LENGTH, context)
        embeds = [p for p in prompts if isinstance(p, EmbedPrompt)]
        pairs = [p for p in prompts if isinstance(p, RerankPrompt)]
        return self._encode_texts(embeds, longest) + self._encode_pairs(pairs, longest, limits)

    def count(self, text: str) -> int:
        """Count the tokens of a text alone, the way a document's are counted."""
        return len(self._plain.encode(text, add_special_tokens=False).ids)

    def _encode_texts(self, prompts: list[EmbedPrompt], longest: int) -> list[Encoded]:
        pieces = self._pieces([(prompt.rendered, longest - 1) for prompt in prompts])
        # The colon is left to the query, whose first characters may share a token with it.
        heads = {prompt.head: prompt.head.removesuffix(":") for prompt in prompts}
        shared = dict(zip(heads, self._pieces([(h, longest) for h in heads.values()]), strict=True))
        encoded = []
        for prompt, (ids, cut) in zip(prompts, pieces, strict=True):
            if cut != WHOLE:
                cut -= len(prompt.head)
                if cut <= 0:
                    raise InputError(
                        f"The instruction fills all {longest} tokens that `max_length` allows and "
                        "leaves no room for the query. Shorten it or raise `max_length`."
                    )
            prefix, _ = shared[prompt.head]
            if ids[: len(prefix)] != prefix:  # this tokenizer joins more than the colon
                prefix = []
            own = (*ids[len(prefix) :], self.end)
            encoded.append(Encoded(TokenSequence(tuple(prefix), own), cut))
        return encoded

    def _encode_pairs(
        self, prompts: list[RerankPrompt], longest: int, limits: Limits
    ) -> list[Encoded]:
        heads: dict[tuple[str, str], tuple[tuple[int, ...], int]] = {}
        for prompt in prompts:
            if (prompt.instruction, prompt.query) not in heads:
                heads[prompt.instruction, prompt.query] = self._head(prompt, longest, limits)
        rooms = []
        for prompt in prompts:
            prefix, _ = heads[prompt.instruction, prompt.query]
            room = longest - len(prefix) - len(self.suffix)
            rooms.append((prompt.body, min(room, limits.max_document_tokens or room)))
        return [
            Encoded(
                TokenSequence(prefix, (*ids, *self.suffix)),
                # The offset counts the space before the document, which is the prompt's.
                WHOLE if cut == WHOLE else max(cut - 1, 0),
                query_cut,
            )
            for (prefix, query_cut), (ids, cut) in zip(
                (heads[prompt.instruction, prompt.query] for prompt in prompts),
                self._pieces(rooms),
                strict=True,
            )
        ]

    def _head(
        self, prompt: RerankPrompt, longest: int, limits: Limits
    ) -> tuple[tuple[int, ...], int]:
        """Encode the part that all documents of one query share."""
        budget = min(limits.max_query_tokens or longest, longest)
        [(_, cut)] = self._pieces([(prompt.query, budget)])
        if cut != WHOLE and limits.max_query_tokens is not None:
            prompt = replace(prompt, query=prompt.query[:cut])
        [(ids, head_cut)] = self._pieces([(prompt.head, longest)])
        prefix = (*self.prefix, *ids)
        if head_cut != WHOLE or len(prefix) + len(self.suffix) >= longest:
            raise InputError(
                f"The query and its instruction leave no room for a document within {longest} "
                "tokens. Shorten them, raise `max_length`, or set `max_query_tokens` to cut "
                "long queries."
            )
        return prefix, cut

    def _pieces(self, texts: Sequence[tuple[str, int]]) -> list[tuple[list[int], int]]:
        """Encode user text up to a number of tokens, reading no more of it than that takes.

        Args:
            texts: Text and token limit of each.

        Returns:
            Ids and the number of characters they cover, `WHOLE` for all, of each.
        """
        results: list[tuple[list[int], int]] = [([], WHOLE)] * len(texts)
        windows = {
            index: CHARACTERS_PER_TOKEN * limit + WINDOW_MARGIN
            for index, (_, limit) in enumerate(texts)
        }
        while windows:
            # A batch call releases the interpreter's lock, a single call does not.
            encodings = self._plain.encode_batch(
                [texts[index][0][:window] for index, window in windows.items()],
                add_special_tokens=False,
            )
            again = {}
            for (index, window), encoding in zip(windows.items(), encodings, strict=True):
                text, limit = texts[index]
                ids = encoding.ids
                if window >= len(text) and len(ids) <= limit:
                    results[index] = (ids, WHOLE)
                    continue
                # Offsets count characters. A character of several tokens appears in each.
                offsets = encoding.offsets
                stable = len(text) if window >= len(text) else window - WINDOW_MARGIN
                if len(ids) > limit and (limit == 0 or offsets[limit - 1][1] <= stable):
                    results[index] = (ids[:limit], offsets[limit][0])
                else:
                    again[index] = window * 2
            windows = again
        return results

    def _find_end(self, full: Tokenizer) -> int:
        end = full.token_to_id(END_TOKEN)
        if end is None:
            raise ModelError(
                f"The tokenizer of {self._name!r} has no {END_TOKEN} token, which Qwen3-Embedding "
                "reads its vector from. Use the tokenizer files published with the checkpoint."
            )
        if full.encode("a").ids[-1:] != [end]:
            warnings.warn(
                f"The tokenizer of {self._name!r} does not append {END_TOKEN}, which "
                "Qwen3-Embedding reads its vector from. It is appended here; other software will "
                "give other vectors until tokenizer.json is replaced by the published one.",
                stacklevel=2,
            )
        return int(end)

    def _control(self, full: Tokenizer, segment: str) -> tuple[int, ...]:
        for token in ("<|im_start|>", "<|im_end|>", "<think>", "</think>"):
            if full.token_to_id(token) is None:
                raise ModelError(
                    f"The tokenizer of {self._name!r} has no {token} token, which the prompt of "
                    "Qwen3-Reranker needs. Use the tokenizer files published with the checkpoint."
                )
        return tuple(full.encode(segment, add_special_tokens=False).ids)

    def _single(self, word: str) -> int:
        ids = self._plain.encode(word, add_special_tokens=False).ids
        if len(ids) != 1:
            raise ModelError(
                f"The tokenizer of {self._name!r} splits {word!r} into {len(ids)} tokens, so the "
                "model has no single answer to read. Use the published tokenizer files."
            )
        return int(ids[0])
