"""Files on a flash image, done inside MicroPython: `micropython installer.py REQUEST.json`.

The request is {"image": path, "here": directory of nor.py, "ops": [...]}, each operation one of
["put", target, source], ["get", target, destination], ["remove", target], ["list", destination];
targets are absolute paths on the board, the others are files of the host. A blank `vfs` is
formatted first. The host's file system stays at /, the board's is mounted at /board.
"""

import json
import os
import sys

import vfs


class Partition:
    """The `vfs` partition as a block device."""

    def __init__(self, flash, address, size):
        self.flash = flash
        self.address = address
        self.size = size

    def readblocks(self, block, buffer, offset=0):
        self.flash.read(self.address + block * 4096 + offset, buffer)

    def writeblocks(self, block, buffer, offset=0):
        self.flash.program(self.address + block * 4096 + offset, buffer)

    def ioctl(self, op, arg):
        if op == 4:
            return self.size // 4096
        if op == 5:
            return 4096
        if op == 6:
            self.flash.erase(self.address + arg * 4096)
        return 0


def copy(source, target):
    buffer = bytearray(4096)
    view = memoryview(buffer)
    with open(source, "rb") as old, open(target, "wb") as new:
        n = old.readinto(buffer)
        while n:
            new.write(view[:n])
            n = old.readinto(buffer)


def make_directories(path):
    at = path.find("/", len("/board/"))
    while at > 0:
        try:
            os.mkdir(path[:at])
        except OSError:
            pass  # it is there
        at = path.find("/", at + 1)


def walk(directory, found):
    for name, kind, _, *_ in os.ilistdir(directory):
        path = directory + "/" + name
        if kind == 0x4000:
            walk(path, found)
        else:
            found.append([path[len("/board") :], os.stat(path)[6]])
    return found


def main(request):
    sys.path.insert(0, request["here"])
    import nor

    flash = nor.Flash(request["image"])
    for _, _, address, size, label in flash.partitions:
        if label == "vfs":
            device = Partition(flash, address, size)
    try:
        vfs.mount(vfs.VfsLfs2(device), "/board")
    except OSError:
        vfs.VfsLfs2.mkfs(device)
        vfs.mount(vfs.VfsLfs2(device), "/board")
    for op, *paths in request["ops"]:
        if op == "put":
            target = "/board" + paths[0]
            make_directories(target)
            copy(paths[1], target)
        elif op == "get":
            copy("/board" + paths[0], paths[1])
        elif op == "remove":
            os.remove("/board" + paths[0])
        elif op == "list":
            with open(paths[0], "w") as listing:
                json.dump(walk("/board", []), listing)


with open(sys.argv[1]) as _f:
    _request = json.load(_f)
main(_request)
