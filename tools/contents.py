"""What a state machine shows to a reader."""

from raft.intlist import IntList


def contents(machine):
    """What a reader is shown of it: the list, or {key: value}."""
    if machine.name == IntList.name:
        return list(machine.values)
    return {key: machine.get(key) for key in machine.keys()}
