"""First file a board runs. Holding the BOOT button (GPIO 0) at start leaves it at the prompt.

Nothing here may raise: an exception in boot.py would skip main.py. main.py shares these globals.
"""

safe_mode = False
try:
    from machine import Pin

    safe_mode = Pin(0, Pin.IN, Pin.PULL_UP).value() == 0
    if safe_mode:
        print("raftnow: safe mode, the firmware is not started")
except Exception as error:
    print("raftnow: no safe mode:", error)
