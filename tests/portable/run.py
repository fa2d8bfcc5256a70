"""Run test modules of this folder on either interpreter: `run.py test_wire test_journal ...`.

The unix port of MicroPython has neither pytest nor unittest. Prints a line a failure, then
`N passed, M failed`; exits 1 if anything failed or nothing ran.
"""

import gc
import sys

sys.path.insert(0, ".")

passed = 0
failed = 0
for name in sys.argv[1:]:
    module = __import__("tests.portable." + name, None, None, ["*"])
    for test in sorted(dir(module)):
        if not test.startswith("test_"):
            continue
        gc.collect()  # the heap of the one before is no matter of this one
        try:
            getattr(module, test)()
            passed += 1
        except Exception as error:
            failed += 1
            print("FAILED %s.%s" % (name, test))
            if hasattr(sys, "print_exception"):
                sys.print_exception(error)
            else:
                print(repr(error))
print("%d passed, %d failed" % (passed, failed))
sys.exit(1 if failed or not passed else 0)
