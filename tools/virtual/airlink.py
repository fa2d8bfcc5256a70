"""Datagrams between a virtual board and the air process, over loopback UDP.

Runs on MicroPython (the board) and on CPython (the air); both import this one file. All numbers
little-endian. A board owns two sockets: `link` talks to the air, `rx` only receives frames, so
that a poll on `rx` is readable exactly when a frame has come. All that the air sends to `link` is
REPLY bytes long: MicroPython's readinto() goes on until its buffer is full, over datagrams.

| kind | from -> to | body |
|---|---|---|
| RX 6 | rx -> air | MAC 6: frames for this station go to the sender of this datagram |
| STATE 1 | link -> air | MAC 6, channel u8, flags u8 (RADIO, LISTEN), serial u16 |
| STATE 1 | air -> link | serial u16: the state is in force; rx port u16 |
| SEND 2 | link -> air | source MAC 6, destination MAC 6, serial u16, payload 1..1470 |
| SENT 3 | air -> link | serial u16, acknowledged u16: what the radio reports when it is done |
| FRAME 4 | air -> rx | arrival us u64 (host's monotonic clock), RSSI i8, source MAC 6, payload |
| WAKE 5 | rx -> rx | empty: a board keeps its own `rx` readable while its receive ring holds data |
| { | any -> air | a control request in JSON; the answer is JSON too (see air_process.py) |

A station with RADIO but without LISTEN acknowledges unicast frames and drops them: a board whose
Wi-Fi is on and whose ESP-NOW is not.
"""

import struct

STATE = 1
SEND = 2
SENT = 3
FRAME = 4
WAKE = 5
RX = 6

RADIO = 1
LISTEN = 2

MAX_PAYLOAD = 1470
SEND_HEADER = 15
FRAME_HEADER = 16
REPLY = 5
DATAGRAM = FRAME_HEADER + MAX_PAYLOAD

_STATE = "<B6sBBH"
_SEND = "<B6s6sH"
_FRAME = "<BQb6s"


def pack_rx(mac):
    return struct.pack("<B6s", RX, mac)


def unpack_rx(datagram):
    return struct.unpack("<B6s", datagram)[1]


def pack_state(mac, channel, flags, serial):
    return struct.pack(_STATE, STATE, mac, channel, flags, serial)


def unpack_state(datagram):
    """(mac, channel, flags, serial)."""
    return struct.unpack(_STATE, datagram)[1:]


def pack_reply(kind, serial, value):
    """STATE (value: the rx port) or SENT (value: acknowledged) from the air, REPLY bytes long."""
    return struct.pack("<BHH", kind, serial, value)


def pack_send_into(buffer, src, dst, serial):
    """Write the header; the payload follows at SEND_HEADER."""
    struct.pack_into(_SEND, buffer, 0, SEND, src, dst, serial)


def unpack_send(datagram):
    """(src, dst, serial); the payload is datagram[SEND_HEADER:]."""
    return struct.unpack_from(_SEND, datagram, 0)[1:]


def pack_frame(arrive_us, rssi, src, payload):
    return struct.pack(_FRAME, FRAME, arrive_us, rssi, src) + payload


def unpack_frame(datagram):
    """(arrive_us, rssi, src); the payload is datagram[FRAME_HEADER:]."""
    return struct.unpack_from(_FRAME, datagram, 0)[1:]
