"""The copy that is held in memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store.memory_copy import MemoryCopy
from tests.store.on_disk import CONTENT


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["write", "forget"]),
            st.integers(0, 3 * BLOCK),
            st.integers(1, BLOCK + 100),
        ),
        max_size=12,
    )
)
def test_a_copy_in_memory_reads_what_was_written_and_not_forgotten(steps: list[tuple[str, int, int]]) -> None:
    copy = MemoryCopy(Identity(4 * BLOCK + 200))
    model = bytearray(4 * BLOCK + 200)
    content = memoryview(CONTENT)
    for step, start, length in steps:
        if step == "write":
            copy.write(start, content[start : start + length])
            model[start : start + length] = content[start : start + length]
        else:
            copy.forget(ByteRange(start, start + length))
            first, stop = start // BLOCK, -(-(start + length) // BLOCK)
            model[first * BLOCK : stop * BLOCK] = bytes(len(model[first * BLOCK : stop * BLOCK]))
    for start in range(0, len(model), BLOCK):
        read = copy.read(ByteRange(start, start + BLOCK))
        assert read == model[start : start + len(read)]
        assert not any(model[start + len(read) : start + BLOCK])
