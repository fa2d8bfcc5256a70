"""The pictures in docs/: the real window, on a real window system, over the running demo.

`take(folder)` starts Xvfb where there is no screen, and a process of its own for the window, which
drives it as a user would: types 2 and 34 into the form, presses Enter, waits until all boards show
it, and takes the picture from the screen.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"
SCREEN = "1280x860x24"
INDEX, VALUE = 2, 34
WAIT_MS = 20000


class PictureError(Exception):
    """No picture could be taken; the text says why."""


@contextlib.contextmanager
def screen():
    """Environment of a process that wants a screen: the user's, or that of an Xvfb of ours."""
    environment = dict(os.environ)
    environment.pop("QT_QPA_PLATFORM", None)
    if environment.get("DISPLAY"):
        yield environment
        return
    if not shutil.which("Xvfb"):
        raise PictureError("there is no screen and no Xvfb: apt-get install xvfb")
    read, write = os.pipe()
    # Xvfb picks a free display number, and tells it when it is ready.
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", SCREEN, "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise PictureError("Xvfb did not start")
        environment["DISPLAY"] = ":" + number
        yield environment
    finally:
        server.terminate()
        server.wait()


def take(folder=FOLDER):
    """Take all pictures into `folder`. Raises PictureError."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with screen() as environment:
        done = subprocess.run(
            [sys.executable, "-m", "tools.pictures", str(folder)],
            cwd=ROOT,
            env=environment,
            timeout=120,
        )
    if done.returncode:
        raise PictureError("the window's process failed, see above")


def drive(folder):
    """In the window's process: run the demo, make one change by hand, take the pictures."""
    from PyQt6.QtCore import Qt
    from PyQt6.QtTest import QTest
    from PyQt6.QtWidgets import QApplication

    from host_ui import theme
    from host_ui.app import Window
    from tools.demo import VirtualCluster
    from tools.link import Link

    def wait(condition, what):
        for _ in range(WAIT_MS // 20):
            if condition():
                return
            QTest.qWait(20)
        raise PictureError("waited in vain for " + what)

    app = QApplication(["raftnow demo"])
    app.setStyle("Fusion")
    with VirtualCluster("pictures") as demo:
        cluster = demo.cluster
        with Link(cluster.host, cluster.port, cluster.name, cluster.key) as link:
            window = Window(link, "raftnow demo", theme.DARK)
            window.move(0, 0)
            window.show()
            window.activateWindow()
            wait(lambda: window.model.leader() is not None, "a leader")
            follower = next(n for n in cluster.nodes if n != window.model.leader())
            for field, text in (
                (window.form.node, follower),
                (window.form.index, INDEX),
                (window.form.value, VALUE),
            ):
                QTest.mouseClick(field, Qt.MouseButton.LeftButton)
                field.clear()
                QTest.keyClicks(field, str(text))
            QTest.keyClick(window.form.value, Qt.Key.Key_Return)
            wait(lambda: window.form.command.state == "committed", "the outcome")
            wait(lambda: shown(window, INDEX) == [str(VALUE)] * len(cluster.nodes), "all columns")
            QTest.qWait(1500)
            for look, name in ((theme.DARK, "demo.png"), (theme.LIGHT, "demo-light.png")):
                window.set_theme(look)
                QTest.qWait(600)
                picture = app.primaryScreen().grabWindow(window.winId())
                if picture.isNull() or not picture.save(str(folder / name)):
                    raise PictureError("could not save " + name)
            window.close()


def shown(window, cell):
    """What the table shows, board by board, for one integer of the database."""
    table = window.table.model
    rows = [row for row in range(table.rowCount()) if table.cell(row) == cell]
    return [
        str(table.data(table.index(row, column)))
        for row in rows
        for column in range(table.columnCount())
    ]


if __name__ == "__main__":
    try:
        drive(pathlib.Path(sys.argv[1]))
    except PictureError as error:
        print("raftnow: " + str(error), file=sys.stderr)
        sys.exit(1)
