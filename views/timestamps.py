"""Write timestamps and lifetimes of the speed views: versions, not clocks.

``USING TIMESTAMP`` is an anchor in event-time microseconds plus a count that grows with each update of
the row. It is the same in every replay and never ties (by plain event time an out-of-order event would,
and Cassandra then keeps the larger value column by column).

    row             timestamp                          deletes
    tile            tile start + n
    open session    start + n
    closed session  start + gap + n                    (start, end] at end + gap
    embedding       generation's creation + updates

A closed session so always beats its provisional row (n is far below the gap's 1.8e9 microseconds), and
its range delete beats every provisional row that began inside it.
"""

from common.sessions import SESSION_GAP_MS

MICROS = 1_000


def tile_timestamp(tile_start_ms: int, n: int) -> int:
    """Microseconds of a tile that holds ``n`` events."""
    return tile_start_ms * MICROS + n


def open_session_timestamp(session_start_ms: int, n: int) -> int:
    """Microseconds of a provisional session row of ``n`` events."""
    return session_start_ms * MICROS + n


def closed_session_timestamp(session_start_ms: int, n: int, gap_ms: int = SESSION_GAP_MS) -> int:
    """Microseconds of a session that the watermark closed with ``n`` events."""
    return (session_start_ms + gap_ms) * MICROS + n


def swallowed_sessions_timestamp(session_end_ms: int, gap_ms: int = SESSION_GAP_MS) -> int:
    """Microseconds at which a closed session deletes the provisional rows that began inside it."""
    return (session_end_ms + gap_ms) * MICROS


def embedding_timestamp(generation_created_ms: int, updates: int) -> int:
    """Microseconds of a visitor's embedding after its ``updates``-th event in the generation."""
    return generation_created_ms * MICROS + updates


def remaining_ttl_s(anchor_ms: int, ttl_s: int, now_ms: int) -> int | None:
    """Seconds a row has left to live, counted from its anchor; None where it has already expired.

    A ``ttl_s`` of 0 means for ever, and gives 0.
    """
    if ttl_s == 0:
        return 0
    left_ms = anchor_ms + ttl_s * 1_000 - now_ms
    return -(-left_ms // 1_000) if left_ms > 0 else None
