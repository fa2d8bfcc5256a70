"""What a board knows of itself beside its journal: its chip, and whether it was ever born.

The mark is in NVS, another part of the flash than the journal: a board whose journal is gone while
the mark is there has lost its memory, and must not act as if it were new (rule 7).
"""

from binascii import crc32

import esp32
import machine

_NAMESPACE = "raftnow"
_MARK = "born"


class Nameplate:
    """`chip`: 30 bits of the chip's id."""

    def __init__(self):
        self.chip = crc32(machine.unique_id()) & 0x3FFFFFFF
        self._nvs = esp32.NVS(_NAMESPACE)

    def was_born(self):
        """True if a journal was begun on this chip."""
        try:
            return self._nvs.get_i32(_MARK) == 1
        except OSError:
            return False

    def mark_born(self):
        """Remember it. Flashing MicroPython wipes NVS: a board that has its journal marks again."""
        if not self.was_born():
            self._nvs.set_i32(_MARK, 1)
            self._nvs.commit()
