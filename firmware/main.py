"""Second file a board runs, copied to /main.py: hands over to the firmware."""

if not globals().get("safe_mode"):
    from firmware import shell

    shell.start()
