"""Tokens and merges looked up in tables that nobody reads as a whole; see `vocabulary_table`."""

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload


class Texts(Sequence[str]):
    """The tokens' texts by id."""

    def __init__(self, ends: memoryview, texts: memoryview) -> None:
        self._ends, self._texts = ends, texts

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        start = self._ends[index - 1] if index else 0
        return str(self._texts[start : self._ends[index]], "utf-8")

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends:
            yield str(self._texts[start:end], "utf-8")
            start = end


class Merges(Sequence[tuple[int, int]]):
    """The merges by rank."""

    def __init__(self, flat: memoryview) -> None:
        self._flat = flat

    def __len__(self) -> int:
        return len(self._flat) // 2

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[int, int]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | list[tuple[int, int]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        return self._flat[2 * index], self._flat[2 * index + 1]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        flat = self._flat.tolist()
        return zip(flat[::2], flat[1::2], strict=True)


class VocabularyIndex(NamedTuple):
    """Finds tokens by their text and merges by their parts. longest_text: of any token, in characters."""

    texts: Texts
    hashes: memoryview
    hash_ids: memoryview
    pairs: memoryview
    pair_ranks: memoryview
    longest_text: int

    def find(self, text: str) -> int | None:
        """Return the highest id of a token with this text, as a dictionary made in order of ids would."""
        wanted = zlib.crc32(text.encode())
        at, found = bisect_left(self.hashes, wanted), None
        while at < len(self.hashes) and self.hashes[at] == wanted:
            if self.texts[self.hash_ids[at]] == text:
                found = self.hash_ids[at]
            at += 1
        return found

    def rank(self, left: int, right: int) -> int | None:
        """Return the place of a merge among the merges, the last where it is there twice."""
        wanted = left << 32 | right
        at = bisect_right(self.pairs, wanted) - 1
        return self.pair_ranks[at] if at >= 0 and self.pairs[at] == wanted else None
