"""The config: every wrong setting is refused with a sentence that names it."""

from firmware.config import Config, ConfigError
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
    assert (config.id, config.incarnation, config.channel, config.size) == (2, 1, 1, 5)
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
        ("incarnation", 0),
        ("cluster", ""),
        ("key", "zz"),
        ("key", "00"),
        ("key", None),
        ("voters", [1, 3]),
        ("voters", [2, 2]),
        ("voters", [2, 999]),
        ("voters", 2),
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
    for name in ("id", "cluster", "key", "voters"):
        values = dict(NODE)
        del values[name]
        assert name in str(raises(ConfigError, Config, values))
