"""The API's settings and hashes: what could be guessed is refused before anything starts."""

import pytest

from central.api import passwords
from central.api.settings import load_api_settings
from contracts.errors import SetupError

GOOD = "9f1c0b7ad4e35268f07b1d9c4a6e8352"


def test_a_password_is_hashed_by_bcrypt_at_cost_12_whatever_its_length() -> None:
    long = "Aa1" + "é" * 100
    kept = passwords.hashed(long)

    assert kept.startswith("$2b$12$")
    assert passwords.matches(long, kept)
    assert not passwords.matches(long[:-1], kept)
    assert not passwords.matches(long, "no hash")
    assert not passwords.matches("no password of anybody", None)


@pytest.mark.parametrize(
    "key",
    ["", "tiny", "a" * 64, "0123456789abcdef0123456789abcdef"[:31], "your-secret-key-change-in-production-please",
     "changeme-changeme-changeme-changeme-1234567"],
)  # fmt: skip
def test_a_key_that_can_be_guessed_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(SetupError, match="SECRET_KEY") as refused:
        load_api_settings({"SECRET_KEY": key})

    assert not key or key not in str(refused.value)


def test_a_longer_hash_needs_a_longer_key() -> None:
    assert load_api_settings({"SECRET_KEY": GOOD}).secret_key == GOOD
    with pytest.raises(SetupError, match="48 characters"):
        load_api_settings({"SECRET_KEY": GOOD, "ALGORITHM": "HS384"})


def test_development_takes_any_key_that_is_there() -> None:
    assert load_api_settings({"SECRET_KEY": "dev", "DEBUG": "true"}).secret_key.startswith("dev")
    with pytest.raises(SetupError, match="not set"):
        load_api_settings({"DEBUG": "true"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALGORITHM", "none"),
        ("ALGORITHM", "RS256"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "0"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "half an hour"),
        ("API_V1_PREFIX", "api"),
        ("DEBUG", "perhaps"),
        ("CORS_ORIGINS", '["a", 1]'),
        ("REQUEST_SIZE_LIMIT", "-1"),
        ("FIGURES_AGE", "5"),
    ],
)
def test_a_setting_that_means_nothing_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SetupError, match=name):
        load_api_settings({"SECRET_KEY": GOOD, name: value})


def test_every_origin_with_credentials_is_refused() -> None:
    with pytest.raises(SetupError, match="CORS_ORIGINS"):
        load_api_settings({"SECRET_KEY": GOOD, "CORS_ORIGINS": "*", "CORS_ALLOW_CREDENTIALS": "true"})


def test_origins_are_words_or_a_list() -> None:
    words = load_api_settings({"SECRET_KEY": GOOD, "CORS_ORIGINS": "http://a, http://b"})
    listed = load_api_settings({"SECRET_KEY": GOOD, "CORS_ORIGINS": '["http://a", "http://b"]'})

    assert words.cors.origins == listed.cors.origins == ("http://a", "http://b")


def test_the_key_stands_in_no_repr() -> None:
    assert GOOD not in repr(load_api_settings({"SECRET_KEY": GOOD}))
