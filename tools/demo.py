"""A whole cluster on this computer: virtual boards with the unmodified firmware, a collector."""

import pathlib
import shutil
import socket

from tools.cluster import Cluster
from tools.virtual.boards import VirtualBoards
from tools.virtual.image import VirtualBoardError

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "virtual"
CLUSTER_FILE = BUILD / "demo" / "cluster.toml"
COLLECTOR = "collector"


def firmware_files(root=ROOT):
    """{path on the board: source file} of everything that a board carries."""
    root = pathlib.Path(root)
    files = {"/boot.py": root / "boot.py", "/main.py": root / "firmware" / "main.py"}
    for folder in ("raft", "firmware", "collector"):
        for source in sorted((root / folder).glob("*.py")):
            files["/%s/%s" % (folder, source.name)] = source
    return files


def check_port(port):
    """VirtualBoardError if UDP `port` is taken on this computer."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        raise VirtualBoardError(
            "UDP port %d is taken: is another demo running? End it, or choose another with --port"
            % port
        )
    finally:
        probe.close()


def free_port():
    """A UDP port that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class VirtualCluster:
    """`nodes` virtual boards and a collector, new ones, under `build/virtual/NAME`.

    `port` 0 takes a free one. `settings`: of raft.settings, where they shall not be the defaults;
    `options`: of VirtualBoards.add, for the nodes. Used as a context: leaving it ends every
    process. Raises VirtualBoardError.
    """

    def __init__(
        self, name, nodes=5, port=0, size=5, root=ROOT, seed=None, settings=None, **options
    ):
        if port:
            check_port(port)
        directory = BUILD / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        self.cluster = Cluster.create(
            name, range(1, nodes + 1), size=size, port=port or free_port()
        )
        self.cluster.save(directory / "cluster.toml")
        self.boards = VirtualBoards(directory, seed=seed)
        files = firmware_files(root)
        try:
            self.boards.add(COLLECTOR, self.cluster.collector_config(), files=files)
            for node in self.cluster.nodes:
                config = self.cluster.node_config(node) | (settings or {})
                self.boards.add(self.board(node), config, files=files, **options)
            self.boards.start_all()
        except BaseException:
            self.boards.close()
            raise

    @staticmethod
    def board(node):
        """Name of the board that is member `node`."""
        return "node%d" % node

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.boards.close()
