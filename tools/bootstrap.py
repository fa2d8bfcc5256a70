"""Set-up: `python3 tools/bootstrap.py [viewer] [dev]` makes build/venv ready, or says why not.

Runs on the system's own Python with nothing but the standard library. Packages come in the
versions of requirements.lock; an extra is installed only for the target that needs it. What pip
cannot bring (Qt's system libraries, a font, a window system for the tests) is installed when we are
root on Debian or Ubuntu; otherwise the line to type is printed, and what needs it does without.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "build" / "venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
EXTRAS = ("viewer", "dev")

# What Qt loads at run time (xcb and offscreen), a font, and Xvfb for the tests of the window.
QT_LIBRARIES = (
    "libegl1 libgl1 libdbus-1-3 libfontconfig1 libglib2.0-0 libxkbcommon-x11-0 libxcb-cursor0"
    " libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0"
    " libxcb-xkb1 libbrotli1 fonts-dejavu-core"
).split()
WINDOW_SYSTEM = ("xvfb", "xauth")


def main(extras):
    if sys.version_info < (3, 11):  # noqa: UP036  it runs on whatever python3 there is
        stop("raftnow needs Python 3.11 or later, this is %d.%d" % sys.version_info[:2])
    unknown = set(extras) - set(EXTRAS)
    if unknown:
        stop("unknown extra %r: there are %s" % (unknown.pop(), " and ".join(EXTRAS)))
    make_venv()
    install(extras)
    if "viewer" in extras:
        ready_for_windows(with_tests="dev" in extras)


def stop(why):
    print("set-up: " + why, file=sys.stderr)
    sys.exit(1)


def say(what):
    print("set-up: " + what, file=sys.stderr)


def make_venv():
    if PYTHON.exists():
        return
    try:
        import ensurepip  # noqa: F401  Debian leaves it out of python3
    except ImportError:
        if not apt_install(["python3-venv"]):
            stop("this Python makes no virtual environments. Type: apt-get install python3-venv")
    say("making a virtual environment in build/venv")
    shutil.rmtree(VENV, ignore_errors=True)
    done = subprocess.run([sys.executable, "-m", "venv", str(VENV)])
    if done.returncode or not PYTHON.exists():
        shutil.rmtree(VENV, ignore_errors=True)
        stop("could not make a virtual environment in build/venv, see above")


def install(extras):
    """Install the project with `extras` unless that was done for these very pins."""
    wanted = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    missing = [e for e in ("base", *extras) if stamp(e) != wanted]
    if not missing:
        return
    names = [e for e in EXTRAS if e in extras or stamp(e)]
    say("installing packages (%s)" % ", ".join(["base", *names]))
    target = str(ROOT) + ("[%s]" % ",".join(names) if names else "")
    done = subprocess.run(
        [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        + ["--constraint", str(LOCK), "--editable", target]
    )
    if done.returncode:
        stop("pip could not install the packages, see above; try again when PyPI is reachable")
    for extra in ("base", *names):
        (VENV / ("installed-" + extra)).write_text(wanted)


def stamp(extra):
    path = VENV / ("installed-" + extra)
    return path.read_text() if path.exists() else None


def qt_works():
    """True if Qt finds its libraries. The offscreen platform needs most of them, a window (xcb)
    needs all: a machine may have the former only."""
    code = (
        "import ctypes, os, sys, PyQt6; from PyQt6.QtWidgets import QApplication;"
        " ctypes.CDLL(os.path.dirname(PyQt6.__file__) + '/Qt6/plugins/platforms/libqxcb.so');"
        " QApplication(sys.argv)"
    )
    environment = dict(os.environ, QT_QPA_PLATFORM="offscreen")
    done = subprocess.run([str(PYTHON), "-c", code], env=environment, capture_output=True)
    return done.returncode == 0


def has_font():
    folders = ("/usr/share/fonts", "/usr/local/share/fonts", os.path.expanduser("~/.fonts"))
    return any(next(pathlib.Path(f).rglob("*.[to]tf"), None) for f in folders if os.path.isdir(f))


def ready_for_windows(with_tests):
    if not sys.platform.startswith("linux"):
        return
    packages = []
    if not (qt_works() and has_font()):
        packages += QT_LIBRARIES
    if with_tests and not shutil.which("Xvfb"):
        packages += WINDOW_SYSTEM
    if packages and not apt_install(packages):
        say("for windows, type: apt-get install --no-install-recommends " + " ".join(packages))
        say("going on without")


def apt_install(packages):
    """True if Debian's package manager is there, we may use it, and it did."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    say("installing Debian packages: " + " ".join(packages))
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for command in (
        ["apt-get", "update", "--quiet=2"],
        ["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", *packages],
    ):
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL)
        if done.returncode:
            say("'%s' failed" % " ".join(command[:2]))
            return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
