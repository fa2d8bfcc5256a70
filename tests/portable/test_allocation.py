"""What a frame costs on the heap of a board: its tag (two hashes, a view), and nothing else.

CPython does not count bytes: there, nothing is measured.
"""

import gc

from raft.message import ACK, APPEND, VOTE, Message
from raft.wire import FRAME_MAX, TAG_SIZE
from tests.portable.test_wire import codec

_TIMES = 20
_KINDS = (APPEND, ACK, VOTE) if hasattr(gc, "mem_alloc") else ()


def allocated(function, *arguments):
    """Bytes that one call leaves behind, garbage or not."""
    function(*arguments)
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for _ in range(_TIMES):
        function(*arguments)
    after = gc.mem_alloc()
    gc.enable()
    return (after - before) // _TIMES


def test_a_frame_without_entries_costs_its_tag_only():
    sender, hearer = codec(1), codec(2)
    buf = bytearray(FRAME_MAX)
    message, heard = Message(), Message()
    for kind in _KINDS:
        message.type = kind
        message.term = message.index = (1 << 30) - 1
        length = sender.encode(message, buf)
        end = length - TAG_SIZE
        to_verify = allocated(hearer.keys.verify, buf, end, 0)
        assert allocated(hearer.decode, buf, length, heard) == to_verify, kind
        to_seal = allocated(sender.keys.seal, buf, end)
        assert allocated(sender.encode, message, buf) == to_seal, kind
