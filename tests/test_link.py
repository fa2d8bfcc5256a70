"""The socket around the station, against boards that follow a script."""

import socket
import threading
import time

import pytest

from tests.fake_cluster import FakeCluster
from tools import link as link_module
from tools import pc
from tools.link import Link, LinkError


@pytest.fixture
def cluster():
    with FakeCluster() as one:
        yield one


def test_leader_write_and_equal_databases(cluster):
    with Link("127.0.0.1", cluster.port, cluster.name, cluster.key) as link:
        assert link.wait_leader(5) == 1
        command = link.set(4, 2, 34, 5)
        assert command.state == pc.DONE and command.log_index == 3
        same = [(3, [0, 0, 34, 0, 0])] * 5
        assert link.run(lambda: list(link.databases().values()) == same, 5)


def test_a_new_leader_after_the_first_is_gone(cluster):
    with Link("127.0.0.1", cluster.port, cluster.name, cluster.key) as link:
        link.wait_leader(5)
        cluster.kill(1)
        cluster.elect(2)
        assert link.wait_leader(5, other_than=1) == 2


def test_a_refused_index(cluster):
    with Link("127.0.0.1", cluster.port, cluster.name, cluster.key) as link:
        command = link.set(1, 5, 1, 5)
        assert command.state == pc.REFUSED and "outside the list" in command.text


def test_wrong_key_is_named(cluster):
    with Link("127.0.0.1", cluster.port, cluster.name, b"x" * 32) as link:
        with pytest.raises(LinkError, match="wrong key"):
            link.wait_leader(0.5)


def test_nobody_at_the_port(monkeypatch):
    monkeypatch.setattr(link_module, "COLLECTOR_SILENT_MS", 300)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Link("127.0.0.1", port, "test", b"x" * 32) as link:
        with pytest.raises(LinkError, match="nobody listens"):
            link.wait_leader(2)


def test_a_silent_collector(cluster, monkeypatch):
    monkeypatch.setattr(link_module, "COLLECTOR_SILENT_MS", 300)
    cluster.mute = True
    with Link("127.0.0.1", cluster.port, cluster.name, cluster.key) as link:
        with pytest.raises(LinkError, match="nothing heard from the collector"):
            link.wait_leader(2)


def test_an_unknown_host():
    with pytest.raises(LinkError, match="cannot reach"):
        Link("no such host", 5310, "test", b"x" * 32)


def test_a_flood_does_not_keep_the_caller(cluster):
    with Link("127.0.0.1", cluster.port, cluster.name, cluster.key) as link:
        address = link._socket.getsockname()
        stop = threading.Event()

        def flood():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind(("127.0.0.1", 0))
                while not stop.is_set():
                    sender.sendto(b"noise", address)

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        try:
            began = time.monotonic()
            assert link.wait_leader(5) == 1
            assert time.monotonic() - began < 5
        finally:
            stop.set()
            thread.join()
        # A connected socket takes datagrams of the collector only.
        assert link.station.counts["bad_datagrams"] == 0
