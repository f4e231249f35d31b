"""What a file does not hold itself, and secrets it should not: told with their place, and shown to nobody."""

from pathlib import Path

import pytest

from agent.changes import differences
from agent.settings import SettingsError, StationSettings, load

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "config/stations/P03-A.yaml").read_text(encoding="utf-8")
TOOL = (ROOT / "drivers/process/sample.yaml").read_text(encoding="utf-8")
BROKER = "broker: {url: mqtt://127.0.0.1:1883}"


def written(tmp_path: Path, broker: str, text: str = TEXT) -> Path:
    file = tmp_path / "station.yaml"
    assert BROKER in text
    file.write_text(text.replace(BROKER, broker), encoding="utf-8")
    return file


def loaded(tmp_path: Path, broker: str) -> StationSettings:
    return load(written(tmp_path, broker))


def refused(file: Path) -> str:
    with pytest.raises(SettingsError) as error:
        load(file)
    return str(error.value)


def test_a_variable_of_the_environment_is_put_in_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MES_HOST", "mes.local")
    monkeypatch.setenv("TESTER_PORT", "1502")
    file = written(tmp_path, "broker: {url: 'mqtts://${MES_HOST}:8883'}")
    file.write_text(file.read_text(encoding="utf-8").replace("port: 502", 'port: "${TESTER_PORT}"'), encoding="utf-8")
    settings = load(file)
    assert settings.broker.url == "mqtts://mes.local:8883"
    assert settings.machines["tester"].protocol_settings.connect.port == 1502  # type: ignore[attr-defined]


def test_a_variable_that_is_not_set_is_told_once_with_its_place(tmp_path: Path) -> None:
    file = written(tmp_path, "broker: {url: 'mqtts://${NO_SUCH_HOST}:8883'}")
    line = 1 + TEXT[: TEXT.index("broker:")].count("\n")
    (told,) = refused(file).splitlines()
    assert told.startswith(f"{file}:{line}:15 broker.url: the environment variable NO_SUCH_HOST is not set; set it")


@pytest.mark.parametrize("form", ['"${BROKER_PASSWORD}"', '"file:{path}"'])
def test_a_password_comes_from_the_environment_or_a_file_and_is_never_shown(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", "12345")
    secret = tmp_path / "secret"
    secret.write_text("12345\n", encoding="utf-8")
    settings = loaded(
        tmp_path, f"broker: {{url: mqtts://a, username: me, password: {form.replace('{path}', str(secret))}}}"
    )
    assert settings.broker.password is not None
    assert settings.broker.password.get_secret_value() == "12345"
    assert "12345" not in repr(settings)
    other = loaded(tmp_path, "broker: {url: mqtts://a, username: me, password_file: /etc/x}")
    assert "12345" not in "".join(differences(settings, other))


def test_a_credential_of_systemd_is_a_file_below_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = loaded(
        tmp_path, 'broker: {url: mqtts://a, username: me, password_file: "${CREDENTIALS_DIRECTORY}/broker"}'
    )
    assert settings.broker.password_file == tmp_path / "broker"


def test_a_secret_in_plain_text_is_refused_outside_dev_and_not_shown(tmp_path: Path) -> None:
    broker = "broker: {url: mqtts://a, username: me, password: hunter2}"
    told = refused(written(tmp_path, broker))
    assert "broker.password: a secret stands here in plain text" in told
    assert "hunter2" not in told
    assert loaded(tmp_path, f"dev: true\n{broker}").broker.password is not None


def test_so_is_one_that_a_tool_is_told(tmp_path: Path) -> None:
    told = "      time_limit: 30s\n"
    secret = f"{told}      environment: {{API_TOKEN: hunter2, LANG: C}}\n"
    said = refused(written(tmp_path, BROKER, TOOL.replace(told, secret)))
    assert "machines.flasher.run.environment.API_TOKEN: a secret stands here in plain text" in said
    assert "hunter2" not in said
    assert "LANG" not in said


def test_so_is_the_password_of_centrals_api(tmp_path: Path) -> None:
    api = "interlock: {http: {url: 'https://mes.local', username: P03-A, password: hunter2}}"
    said = refused(written(tmp_path, f"{BROKER}\n{api}"))
    assert "interlock.http.password: a secret stands here in plain text" in said
    assert "hunter2" not in said
    settings = loaded(tmp_path, f"{BROKER}\ndev: true\n{api}")
    shown = "".join(differences(settings, loaded(tmp_path, f"{BROKER}\ndev: true")))
    assert settings.interlock.http is not None
    assert settings.interlock.http.url == "https://mes.local/api/v1"
    assert "interlock.http.username" in shown
    assert "hunter2" not in shown + repr(settings)


@pytest.mark.parametrize(
    ("api", "told"),
    [
        ("url: 'https://me:hunter2@mes.local', username: a, password: '${X}'", "no user name or password in the URL"),
        ("url: 'mqtt://mes.local', username: a, password: '${X}'", "looks like https://mes.local:8443/api/v1"),
        ("url: 'https://', username: a, password: '${X}'", "looks like https://mes.local:8443/api/v1"),
        ("url: 'http://mes.local', username: a, password: '${X}', ca: /etc/ca.pem", "ca: certificates need an https"),
    ],
)
def test_an_address_of_the_api_that_cannot_be_used_is_told(
    api: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("X", "12345")
    said = refused(written(tmp_path, f"{BROKER}\ninterlock: {{http: {{{api}}}}}"))
    assert told in said
    assert "hunter2" not in said


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_told(content: bytes | None, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    told = refused(written(tmp_path, f'broker: {{url: mqtts://a, username: me, password: "file:{secret}"}}'))
    assert f"{secret} cannot be read" in told


def test_a_pattern_with_a_dollar_is_left_alone(tmp_path: Path) -> None:
    text = TEXT.replace("nominal: 60, tolerance: 1, unit: degC", "pattern: '^a{2}$'")
    text = text.replace("type: float32, word_order: little, unit: degC", "type: string, length: 4")
    assert load(written(tmp_path, BROKER, text)).criteria["temperature"].pattern == "^a{2}$"
