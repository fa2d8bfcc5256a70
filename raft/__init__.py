"""The Raft core of raftnow: protocol only.

No clock, radio, flash, file, asyncio or random source: those come in from outside, so that the same
files run on an ESP32, on virtual boards, in the simulator and in the tests, bit by bit the same.
"""
