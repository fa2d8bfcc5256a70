"""What clients ask for and are shown, for each state machine that a board can have.

Commands carry a value that no other command has, where the state machine lets them, so that each
can be recognised wherever it is applied.
"""

from raft import intlist, keyvalue

_NOWHERE = 0xFFFF  # beyond every list


class IntListWorkload:
    """Commands for a list of `machine`'s size; indexes that are not there among them."""

    def __init__(self, machine):
        self._size = len(machine.values)

    def command(self, random, value):
        """The next command; `value` is one that was never used before."""
        index = random.randrange(self._size)
        kind = random.random()
        if kind < 0.6:
            return intlist.set_command(index, value)
        if kind < 0.8:
            return intlist.add_command(index, value)
        if kind < 0.95:
            return intlist.cas_command(index, random.randrange(-2, value + 1), value)
        if kind < 0.97:
            return intlist.set_command(_NOWHERE - index, value)
        if kind < 0.98:
            return intlist.add_command(index, 0x7FFFFFFF - value)  # soon an overflow
        if kind < 0.99:
            return intlist.grow_command(min(self._size + random.randrange(4), intlist.SIZE_MAX))
        return bytes([random.randrange(256)]) + value.to_bytes(4, "little")

    def sure_command(self, value):
        """One that is never refused, whatever there is."""
        return intlist.set_command(0, value)


class KeyValueWorkload:
    """Commands for a handful of keys, with values of all kinds."""

    def __init__(self, machine):
        self._keys = ["lamp", "k", "größe", "x" * keyvalue.KEY_MAX]
        self._keys += ["key%d" % n for n in range(machine.keys_max)]

    def command(self, random, value):
        """The next command; `value` is one that was never used before."""
        key = random.choice(self._keys)
        made = random.choice((value, "text %d" % value, b"%d" % value, value))
        kind = random.random()
        if kind < 0.5:
            return keyvalue.set_command(key, made)
        if kind < 0.65:
            return keyvalue.add_command(key, value)
        if kind < 0.75:
            return keyvalue.delete_command(key)
        if kind < 0.95:
            expected = random.choice((None, random.randrange(value + 1)))
            return keyvalue.cas_command(key, expected, made)
        if kind < 0.97:
            return keyvalue.add_command(key, 0x7FFFFFFF - value)
        if kind < 0.99:
            return keyvalue.set_command(key, b"%d" % value * (keyvalue.VALUE_MAX // 8))
        return bytes([random.randrange(5)]) + random.randbytes(6)

    def sure_command(self, value):
        """One that is never refused, whatever there is."""
        return keyvalue.delete_command("lamp")


_WORKLOADS = {
    intlist.IntList.name: IntListWorkload,
    keyvalue.KeyValue.name: KeyValueWorkload,
}


def workload_for(machine):
    """The workload for a state machine."""
    return _WORKLOADS[machine.name](machine)
