"""Large frames: pieces that others share, read as one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.flow.large_frame import LargeFrame


@given(st.lists(st.binary(max_size=9), max_size=4), st.integers(1, 12))
def test_its_chunks_are_its_bytes(pieces: list[bytes], most: int) -> None:
    frame, whole = LargeFrame(*pieces), b"".join(pieces)
    assert (len(frame), bytes(frame)) == (len(whole), whole)
    chunks = [frame.chunk(start, most) for start in range(0, len(whole), most)]
    assert b"".join(chunks) == whole
    assert all(len(chunk) == most for chunk in chunks[:-1])
