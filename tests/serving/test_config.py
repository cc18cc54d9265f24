import pytest

from reason_env.errors import ConfigError
from reason_env.serving import ServingConfig


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"port": -1}, r"port must lie in 0\.\.65535, got -1"),
        ({"port": 65_536}, r"port must lie in 0\.\.65535, got 65536"),
        ({"max_sessions": 0}, "max_sessions must be at least 1, got 0"),
        ({"max_message_bytes": 1023}, "max_message_bytes must be at least 1024, got 1023"),
        ({"idle_s": 0.0}, "idle_s must be finite and above 0, got 0.0"),
        ({"idle_s": float("inf")}, "idle_s must be finite"),
        ({"host": "0.0.0.0"}, "host must be of this machine alone where no token is asked for"),
        ({"host": "::"}, "give token_file, or keep host"),
        ({"host": "a.example"}, "give token_file, or keep host"),
    ],
)
def test_a_wrong_setting_is_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        ServingConfig(**fields)


def test_a_token_is_the_word_in_its_file(tmp_path):
    place = tmp_path / "token"
    place.write_text("0123456789abcdef\n")
    assert ServingConfig(host="0.0.0.0", token_file=place).token() == "0123456789abcdef"
    assert ServingConfig(host="::1", port=0, max_sessions=1).token() is None


@pytest.mark.parametrize("text", ["", "0123456789abcde", "0123456789 abcdef", "0123456789\nabcdef"])
def test_a_file_without_a_token_is_refused_and_not_shown(tmp_path, text):
    place = tmp_path / "token"
    place.write_text(text)
    with pytest.raises(ConfigError, match="must hold one word of at least 16") as found:
        ServingConfig(token_file=place).token()
    assert "012345" not in str(found.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe0123456789abcdef"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content):
    place = tmp_path / "token"
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(ConfigError, match="token_file must name a file of ASCII text"):
        ServingConfig(token_file=place).token()
