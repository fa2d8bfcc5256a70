"""Virtual boards: MicroPython processes with a flash image, joined by an air process.

Each board boots the unmodified firmware on the unix port of MicroPython; fake `espnow`, `network`,
`machine` and `esp32` modules stand in for the chip. `boards.VirtualBoards` supervises them.
"""
