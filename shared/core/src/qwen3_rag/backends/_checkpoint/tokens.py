"""Encodes prompts as token ids and cuts texts that do not fit.

User text is encoded by a copy of the tokenizer without Qwen's control tokens, so that `<|im_end|>`
or `<think>` in a document stays text. Only the control segments are encoded with them. Tokens that
a fine-tune added are tokens everywhere.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer

from qwen3_rag._prompts import (
    CONTROL_TOKENS,
    RERANK_PREFIX,
    RERANK_SUFFIX,
    EmbedPrompt,
    Prompt,
    RerankPrompt,
)
from qwen3_rag._published import Role
from qwen3_rag.backends._base import WHOLE, Limits
from qwen3_rag.backends._checkpoint.encoded import Encoded, TokenSequence
from qwen3_rag.errors import InputError, ModelError

__all__ = ["DEFAULT_MAX_LENGTH", "PromptTokenizer"]

#: Default limit on a prompt's tokens, the same as in the authors' scripts.
DEFAULT_MAX_LENGTH = 8_192

END_TOKEN = "<|endoftext|>"

# Only a window of a long text is encoded. This many characters per allowed token are enough for
# nearly all texts. If they are not (a long run of spaces is one token), the window is doubled.
CHARACTERS_PER_TOKEN = 6

# Tokens this close to the end of a window are not used: the window may have cut a word there, and
# words are shorter than this.
WINDOW_MARGIN = 256


class PromptTokenizer:
    """Encodes prompts for one checkpoint."""

    def __init__(
        self,
        definition: str,
        role: Role,
        *,
        name: str,
        answers: tuple[int, int] | None = None,
        max_length: int | None = None,
    ) -> None:
        """Read a tokenizer.

        Args:
            definition: The content of `tokenizer.json`.
            role: What the checkpoint does.
            name: The model's name, for error messages.
            answers: Ids of a reranker's answers, in the order no, yes; `None` for the tokens "no"
                and "yes".
            max_length: The checkpoint's own limit on a prompt's tokens, where the caller gives
                none and it is less than the default.

        Raises:
            ModelError: The definition cannot be read, or lacks a token that the prompts need.
        """
        try:
            full = Tokenizer.from_str(definition)
            plain = json.loads(definition)
            self._check_ids(full, plain["added_tokens"], name)
            largest = _largest_id(plain["model"]["vocab"])
            #: Tokens that a fine-tune added, with their ids.
            self.own = {
                token["content"]: int(token["id"])
                for token in plain["added_tokens"]
                if token["content"] not in CONTROL_TOKENS
            }
            self._plain = Tokenizer.from_str(json.dumps(_without_control_tokens(plain)))
        except ModelError:
            raise
        except BaseException as error:  # tokenizers raises bare Exception, and panics are none
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise ModelError(
                f"The tokenizer of {name!r} cannot be read: {error}. "
                "Fetch the checkpoint's tokenizer.json again."
            ) from error
        full.no_truncation()
        full.no_padding()
        self._name = name
        self._role = role
        #: Tokens of a prompt where the caller gives no limit.
        self.longest = min(max_length or DEFAULT_MAX_LENGTH, DEFAULT_MAX_LENGTH)
        if role == "embedding":
            self.end, self.appends_end = self._find_end(full)
            self.end_text = str(full.id_to_token(self.end))
            self.ends_as_published = self.end == full.token_to_id(END_TOKEN)
            used: tuple[int, ...] = (self.end,)
        else:
            self.prefix = self._control(full, RERANK_PREFIX)
            self.suffix = self._control(full, RERANK_SUFFIX)
            self.no, self.yes = answers or (self._single("no"), self._single("yes"))
            used = (*self.prefix, *self.suffix, self.no, self.yes)
        #: Rows that the embedding table needs for everything but the tokens in `own`.
        self.rows = 1 + max(largest, *used)

    @staticmethod
    def _check_ids(full: Tokenizer, added: list[dict[str, Any]], name: str) -> None:
        """Check that added tokens have the ids of the file; tokenizers numbers them by itself."""
        for token in added:
            found = full.token_to_id(token["content"])
            if found != token["id"]:
                raise ModelError(
                    f"tokenizer.json of {name!r} gives {token['content']!r} the id {token['id']}, "
                    f"which is not free or leaves a gap; it would become {found}. Fetch the "
                    "checkpoint's tokenizer.json again."
                )

    @property
    def is_published(self) -> bool:
        """Whether it has no added tokens but Qwen's, and for an embedder Qwen's end token."""
        return not self.own and (self._role == "reranking" or self.ends_as_published)

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells it from other tokenizers for the same weights."""
        ids = (self.end,) if self._role == "embedding" else (*self.prefix, *self.suffix)
        answers = () if self._role == "embedding" else (self.no, self.yes)
        return self.rows, sorted(self.own.items()), ids, answers

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        role: Role,
        *,
        name: str,
        answers: tuple[int, int] | None = None,
        max_length: int | None = None,
    ) -> PromptTokenizer:
        """Read `tokenizer.json` of a checkpoint folder."""
        try:
            definition = (folder / "tokenizer.json").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(
                f"The tokenizer of {name!r} cannot be read: {error}. "
                "The folder needs the checkpoint's tokenizer.json."
            ) from error
        return cls(definition, role, name=name, answers=answers, max_length=max_length)

    def encode(self, prompts: Sequence[Prompt], limits: Limits, context: int) -> list[Encoded]:
        """Encode prompts, cutting what does not fit.

        Args:
            prompts: Prompts of the tokenizer's role.
            limits: Limits on their tokens.
            context: The model's longest input.

        Raises:
            InputError: An instruction or query leaves no room for the text.
        """
        longest = min(limits.max_length or self.longest, context)
        if self._role == "embedding":
            return self._encode_texts(cast("Sequence[EmbedPrompt]", prompts), longest)
        return self._encode_pairs(cast("Sequence[RerankPrompt]", prompts), longest, limits)

    def count(self, text: str) -> int:
        """Count the tokens of a text as in a document."""
        return len(self._plain.encode(text, add_special_tokens=False).ids)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where the tokens of a text as in a document begin and end, in characters."""
        return self._plain.encode(text, add_special_tokens=False).offsets

    def _encode_texts(self, prompts: Sequence[EmbedPrompt], longest: int) -> list[Encoded]:
        heads = dict.fromkeys([prompt.head for prompt in prompts])
        texts = [(prompt.rendered, longest - 1) for prompt in prompts]
        # Without a space and the colon, which may share a token with the first characters of a
        # query.
        texts += [(head.rstrip(" ").removesuffix(":"), longest) for head in heads]
        pieces = self._encode_pieces(texts)
        prefixes = dict(zip(heads, pieces[len(prompts) :], strict=True))
        encoded = []
        for prompt, (ids, cut_at) in zip(prompts, pieces, strict=False):
            head = prompt.head
            if cut_at != WHOLE:
                cut_at -= len(head)
                if cut_at <= 0:
                    raise InputError(
                        f"The instruction fills all {longest} tokens that `max_length` allows and "
                        "leaves no room for the query. Shorten it or raise `max_length`."
                        if prompt.instruction is not None
                        else "The text before documents fills all "
                        f"{longest} tokens that `max_length` allows. Raise `max_length`."
                    )
            prefix, _ = prefixes[head]
            if ids[: len(prefix)] != prefix:  # this tokenizer merges more than the colon
                prefix = ()
            sequence = TokenSequence(prefix, (*ids[len(prefix) :], self.end))
            encoded.append(Encoded(sequence, cut_at))
        return encoded

    def _encode_pairs(
        self, prompts: Sequence[RerankPrompt], longest: int, limits: Limits
    ) -> list[Encoded]:
        heads: dict[tuple[str, str], tuple[tuple[int, ...], int]] = {}
        prefixes = []
        documents = []
        for prompt in prompts:
            key = prompt.instruction, prompt.query
            if key not in heads:
                heads[key] = self._encode_head(prompt, longest, limits)
            prefix, query_cut_at = heads[key]
            prefixes.append((prefix, query_cut_at))
            free = longest - len(prefix) - len(self.suffix)
            documents.append((prompt.body, min(free, limits.max_document_tokens or free)))
        encoded = []
        pieces = self._encode_pieces(documents)
        for (prefix, query_cut_at), (ids, cut_at) in zip(prefixes, pieces, strict=True):
            if cut_at != WHOLE:
                cut_at = max(cut_at - 1, 0)  # not counting the space before the document
            sequence = TokenSequence(prefix, (*ids, *self.suffix))
            encoded.append(Encoded(sequence, cut_at, query_cut_at))
        return encoded

    def _encode_head(
        self, prompt: RerankPrompt, longest: int, limits: Limits
    ) -> tuple[tuple[int, ...], int]:
        """Encode the part that all documents of one query share.

        Returns:
            Its ids, and the number of characters kept of the query, `WHOLE` if it was not cut.
        """
        budget = min(limits.max_query_tokens or longest, longest)
        [(_, cut_at)] = self._encode_pieces([(prompt.query, budget)])
        if cut_at != WHOLE and limits.max_query_tokens is not None:
            prompt = replace(prompt, query=prompt.query[:cut_at])
        [(ids, head_cut_at)] = self._encode_pieces([(prompt.head, longest)])
        prefix = (*self.prefix, *ids)
        if head_cut_at != WHOLE or len(prefix) + len(self.suffix) >= longest:
            raise InputError(
                f"The query and its instruction leave no room for a document within {longest} "
                "tokens. Shorten them, raise `max_length`, or set `max_query_tokens` to cut "
                "long queries."
            )
        return prefix, cut_at

    def _encode_pieces(self, texts: Sequence[tuple[str, int]]) -> list[tuple[tuple[int, ...], int]]:
        """Encode user texts up to their token limits, reading no more than necessary.

        Args:
            texts: Each text with its limit on tokens.

        Returns:
            For each text, its ids and the number of characters they cover, `WHOLE` if it was not
            cut.
        """
        results: list[tuple[tuple[int, ...], int]] = [((), WHOLE)] * len(texts)
        pending: Sequence[int] = range(len(texts))
        scale = 1
        while pending:
            windows = [
                (CHARACTERS_PER_TOKEN * texts[index][1] + WINDOW_MARGIN) * scale
                for index in pending
            ]
            # A batch call releases the interpreter's lock; a single call does not.
            encodings = self._plain.encode_batch(
                [texts[index][0][:window] for index, window in zip(pending, windows, strict=True)],
                add_special_tokens=False,
            )
            again = []
            for index, window, encoding in zip(pending, windows, encodings, strict=True):
                text, limit = texts[index]
                ids = encoding.ids
                if window >= len(text) and len(ids) <= limit:
                    results[index] = (tuple(ids), WHOLE)
                    continue
                # Offsets count characters; tokens within one character have the same offsets.
                offsets = encoding.offsets
                reliable = len(text) if window >= len(text) else window - WINDOW_MARGIN
                if len(ids) > limit and (limit == 0 or offsets[limit - 1][1] <= reliable):
                    results[index] = (tuple(ids[:limit]), offsets[limit][0])
                else:
                    again.append(index)
            pending = again
            scale *= 2
        return results

    def _find_end(self, full: Tokenizer) -> tuple[int, bool]:
        """Return the token behind every text, and whether the tokenizer appends it by itself."""
        bare = full.encode("a", add_special_tokens=False).ids
        ids = full.encode("a").ids
        appended = ids[len(bare) :]
        if ids[: len(bare)] != bare or len(appended) > 1:
            raise ModelError(
                f"The tokenizer of {self._name!r} makes {full.encode('a').tokens} of 'a'. Only one "
                "token behind a text is implemented here. Use sentence-transformers for it."
            )
        if appended:
            return int(appended[0]), True
        end = full.token_to_id(END_TOKEN)
        if end is None:
            raise ModelError(
                f"The tokenizer of {self._name!r} appends no end token and has no {END_TOKEN}, "
                "which Qwen3-Embedding reads its vector from. Use the tokenizer files published "
                "with the checkpoint."
            )
        warnings.warn(
            f"The tokenizer of {self._name!r} appends no end token. {END_TOKEN}, which "
            "Qwen3-Embedding reads its vector from, is appended here; other software will "
            "give other vectors until tokenizer.json is replaced by the published one.",
            stacklevel=2,
        )
        return int(end), False

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


def _without_control_tokens(definition: dict[str, Any]) -> dict[str, Any]:
    """Change a tokenizer so that Qwen's control tokens, and nothing else, are read as text.

    `encode_special_tokens` would not be enough: it still reads added tokens whose `special` flag is
    false, such as `<think>`.
    """
    added = definition["added_tokens"]
    own = [token for token in added if token["content"] not in CONTROL_TOKENS]
    model = definition["model"]
    if own:
        # An added token gets the next free id unless the vocabulary has it. No merges lead to
        # these entries, so that nothing else becomes one of them.
        ids = {token["content"]: token["id"] for token in added}
        model = {**model, "vocab": {**model["vocab"], **ids}}
    return {
        **definition,
        "model": model,
        "added_tokens": own,
        "post_processor": None,
        "truncation": None,
        "padding": None,
    }


def _largest_id(vocabulary: dict[str, int] | list[object]) -> int:
    """Return the largest id of a vocabulary in `tokenizer.json`: a dictionary of ids, or a list."""
    if isinstance(vocabulary, list):
        return len(vocabulary) - 1
    return max(vocabulary.values(), default=-1)
