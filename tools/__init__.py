"""Everything that runs on a PC and is not the window: virtual boards, simulator, command line."""
