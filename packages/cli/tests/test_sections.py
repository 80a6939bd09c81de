from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag_cli.chunking import Chunking, chunks
from qwen3_rag_cli.sections import Block, Place, joined

TEXTS = st.integers(1, 400).map(lambda size: "word " * size + "end")
BLOCKS = st.lists(
    st.builds(
        Block,
        number=st.just(0),
        text=TEXTS,
        level=st.sampled_from([0, 0, 0, 1, 2, 3]),
        row_of=st.sampled_from([None, None, "", "name | price"]),
    ),
    max_size=12,
)


def numbered(blocks: list[Block]) -> list[Block]:
    """Number blocks and begin each with its number; headings are no rows."""
    return [
        Block(n, f"b{n}b {block.text}", block.level, None if block.level else block.row_of)
        for n, block in enumerate(blocks, 1)
    ]


@given(BLOCKS)
def test_every_block_is_in_a_section_and_is_where_it_says(blocks: list[Block]) -> None:
    made = numbered(blocks)
    sections = list(joined(made, ("root",), "row", sheet="S"))

    for block in made:
        inside = [part for part in sections if block.text in part.text]
        above = [part for part in sections if block.text in part.parents]
        assert len(inside) == 1 or (block.level and above)
        for part in inside:
            at = part.text.index(block.text)
            assert part.place(at, at + len(block.text)) == Place(
                "row", block.number, block.number, "S"
            )


@given(BLOCKS)
def test_every_chunk_names_the_blocks_that_it_has_words_of(blocks: list[Block]) -> None:
    made = numbered(blocks)
    sections = joined(made, ("root",), "row")

    for chunk in chunks(sections, lambda text: len(text.split()), Chunking(64, 8)):
        named = range(chunk.place.first, chunk.place.last + 1)
        body = chunk.text.split("\n\n", 1)[-1]
        begun = [block.number for block in made if f"b{block.number}b" in body]
        assert all(number in named for number in begun if not made[number - 1].level)


def test_a_heading_above_a_lower_one_is_its_parent() -> None:
    blocks = [Block(1, "One", 1), Block(2, "Two", 2), Block(3, "text"), Block(4, "Three", 1)]

    assert [(part.path, part.text) for part in joined(blocks, (), "cell")] == [
        (("One", "Two"), "Two\n\ntext"),
        (("Three",), "Three"),
    ]


def test_long_tables_are_apart_and_short_ones_in_the_text() -> None:
    rows = [Block(n, "a cell | another cell of it", row_of="one | two") for n in range(2, 9)]
    many = [Block(n, "a cell | another cell of it", row_of="one | two") for n in range(10, 99)]
    text = [Block(1, "before"), *rows, Block(9, "between"), *many, Block(99, "after")]

    first, second, third = joined(text, ("root",), "row")

    assert first.text.startswith("before\n\none | two\na cell | another cell of it\na cell")
    assert first.text.endswith("\n\nbetween")
    assert (second.header, str(second.place(0, 9))) == ("one | two", "row 10")
    assert third.text == "after"


def test_a_header_too_long_for_a_small_chunk_is_a_row_like_the_others() -> None:
    header = " | ".join(f"column{n}" for n in range(20))
    rows = [Block(n, f"cell {n}", row_of=header) for n in range(2, 400)]

    found = list(chunks(joined(rows, (), "row"), lambda text: len(text.split()), Chunking(32, 0)))

    assert sum("column7" in chunk.text for chunk in found) == 1
    assert "cell 399" in found[-1].text
    assert found[-1].place.last == 399
