"""The config: every wrong setting is refused with a sentence that names it."""

from firmware.config import Config, ConfigError
from raft.message import VOTER
from tests.portable.table import raises

NODE = {
    "role": "node",
    "id": 2,
    "cluster": "demo",
    "key": "30" * 16,
    "voters": [1, 2, 3],
}


def changed(**settings):
    values = dict(NODE)
    values.update(settings)
    return values


def test_a_node_with_defaults():
    config = Config(NODE)
    assert (config.id, config.channel) == (2, 1)
    assert config.first.members == ((1, 1, VOTER, 0), (2, 1, VOTER, 0), (3, 1, VOTER, 0))
    assert config.new_machine().values == [0] * 5
    assert config.key == b"0" * 16
    assert config.settings.election_min_ms == 150 and config.settings.election_max_ms == 300


def test_a_collector_needs_no_key():
    config = Config({"role": "collector", "channel": 6, "udp_port": 5999})
    assert (config.channel, config.udp_port) == (6, 5999)
    assert not hasattr(config, "key")


def test_wrong_settings_are_named():
    for name, value in (
        ("role", "king"),
        ("id", 0),
        ("id", 224),
        ("id", "2"),
        ("incarnation", 1),
        ("cluster", ""),
        ("key", "zz"),
        ("key", "00"),
        ("key", None),
        ("voters", [1, 3]),
        ("voters", [2, 2]),
        ("voters", [2, 999]),
        ("voters", 2),
        ("voters", [[2]]),
        ("voters", [[2, 0]]),
        ("machine", "tape"),
        ("planned_voters", 4),
        ("drift_percent", 51),
        ("channel", 14),
        ("size", 0),
        ("election_min_ms", -1),
        ("heartbeat_ms", 149),
        ("colour", "red"),
    ):
        error = raises(ConfigError, Config, changed(**{name: value}))
        assert name in str(error), (name, str(error))
    raises(ConfigError, Config, [])
    raises(ConfigError, Config, changed(election_max_ms=100))


def test_every_setting_of_a_node_that_is_missing_is_named():
    for name in ("id", "cluster", "key"):
        values = dict(NODE)
        del values[name]
        assert name in str(raises(ConfigError, Config, values))


def test_a_board_that_joins_carries_no_configuration():
    assert Config(changed(voters=[])).first.members == ()


def test_a_board_that_replaces_another_has_its_incarnation_in_the_file():
    assert Config(changed(voters=[1, [2, 7], 3])).first.find(2) == (7, VOTER, 0)
    assert Config(changed(voters=[1, [2, 7, 99], 3])).first.find(2) == (7, VOTER, 99)


def test_the_state_machine_is_a_setting():
    machine = Config(changed(machine="keyvalue", keys_max=3, bytes_max=100)).new_machine()
    assert (machine.name, machine.keys_max, machine.bytes_max) == ("keyvalue", 3, 100)
    assert Config(changed(size=9)).new_machine().values == [0] * 9
    raises(ConfigError, Config, changed(machine="keyvalue", bytes_max=1 << 20))
