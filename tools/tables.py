"""The tables of docs/, made from the code itself so that they cannot drift."""

import pathlib

from collector import envelope
from raft import message, wire
from tools import air

_DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
PROTOCOL = _DOCS / "protocol.md"
AIR = _DOCS / "air.md"
_BEGIN = "<!-- made from the code: %s -->\n"
_END = "<!-- end -->\n"
_TAILS = {wire.NOTHING: "", wire.ENTRIES: "then entries", wire.BYTES: "then free bytes"}


def protocol_tables():
    """{name: Markdown} of every generated part of docs/protocol.md."""
    made = {"header": _fields(wire.HEADER_FIELDS), "types": _types(), "outcomes": _outcomes()}
    for kind, name in message.TYPE_NAMES.items():
        made[name] = _fields(wire.FIELDS[kind]) if wire.FIELDS[kind] else "No fixed fields.\n"
        if _TAILS[wire.TAILS[kind]]:
            made[name] += "\n%s.\n" % _TAILS[wire.TAILS[kind]].capitalize()
    made["refusals"] = _rows(("reason", "text"), sorted(envelope.REFUSED_TEXTS.items()))
    return made


def air_tables():
    """{name: Markdown} of every generated part of docs/air.md."""
    heads = ("parameter", "plain", "radio", "", "meaning", "source")
    rate_heads = ("Mbit/s", "", "50 bytes", "250 bytes", "ACK at", "ACK", "sensitivity, dBm")
    rates = []
    for rate in sorted(air.RATES):
        modulation, _, _, _, _, ack_rate, sensitivity_dbm = air.RATES[rate]
        times = [air.airtime_us(size, rate) for size in (50, 250)]
        rates.append((rate, modulation, *times, ack_rate, air.ack_us(rate), sensitivity_dbm))
    return {
        "parameters": _rows(heads, air.PARAMETERS),
        "rates": _rows(rate_heads, rates),
    }


# The documents, and what makes their parts.
DOCUMENTS = {PROTOCOL: protocol_tables, AIR: air_tables}


def rewritten(path, text):
    """`text` of the document at `path`, its parts made anew. ValueError if one is missing."""
    for name, table in DOCUMENTS[path]().items():
        begin = _BEGIN % name
        head, found, rest = text.partition(begin)
        if not found:
            raise ValueError("docs/%s has no part '%s'" % (path.name, name))
        text = head + begin + table + _END + rest.partition(_END)[2]
    return text


def _fields(fields):
    rows = [(name, wire.FIELD_SIZES[code], text) for name, code, text in fields]
    return _rows(("field", "bytes", "meaning"), rows)


def _types():
    rows = []
    for kind, name in message.TYPE_NAMES.items():
        size = wire.HEADER_SIZE + wire.BODY_SIZES[kind] + wire.TAG_SIZE
        rows.append((kind, name, size, _TAILS[wire.TAILS[kind]]))
    return _rows(("type", "name", "bytes with header and tag", ""), rows)


def _outcomes():
    return _rows(("code", "meaning"), sorted(message.OUTCOME_TEXTS.items()))


def _rows(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
