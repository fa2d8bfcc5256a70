"""Without Qt, or without the system's libraries that it needs, the window's tests are skipped.

pytest-qt gives up on the whole run then, so it is not loaded by itself (pyproject.toml), but here.
"""

try:
    import PyQt6.QtWidgets  # noqa: F401
except ImportError as error:
    MISSING = str(error)
else:
    MISSING = None
    pytest_plugins = ["pytestqt.plugin"]


def pytest_report_header():
    return ["the window's tests are skipped: %s" % MISSING] if MISSING else []
