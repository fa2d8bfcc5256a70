"""Run cases of a target on either interpreter: fuzz.py ROOT TARGET FIRST COUNT SECONDS

runs case FIRST, FIRST + 1, ... (tests/portable/targets.py; on CPython also tests/host_targets.py),
COUNT of them, or for SECONDS if COUNT is 0. Prints `BLOCK n CRC` after every 100 of them, with
a check sum of what they returned (with COUNT, `IS n` and that for each), and `CASES n` at the end;
`FAILED n` and a traceback if one fails, and exits 1.
"""

import sys
import time
from binascii import crc32

sys.path.insert(0, sys.argv[1])

from tests.portable import targets  # noqa: E402  the path comes first
from tests.portable.chance import Chance  # noqa: E402

BLOCK = 100


def case_of(target):
    case = targets.TARGETS.get(target)
    if case is not None:
        return case
    from tests import host_targets

    return host_targets.TARGETS[target]


def main(target, first, count, seconds):
    began = time.time()
    case = case_of(target)
    number = first
    crc = 0
    while number - first < count if count else time.time() - began < seconds:
        try:
            text = case(Chance(number))
        except Exception as error:
            print("FAILED %d" % number)
            print_exception(error)
            return 1
        crc = crc32(text.encode(), crc)
        if count:
            print("IS %d %s" % (number, text))
        number += 1
        if (number - first) % BLOCK == 0:
            print("BLOCK %d %d" % (number - BLOCK, crc))
            crc = 0
    print("CASES %d" % (number - first))
    return 0


def print_exception(error):
    if hasattr(sys, "print_exception"):
        sys.print_exception(error, sys.stdout)
    else:
        import traceback

        traceback.print_exception(error, file=sys.stdout)


sys.exit(main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
