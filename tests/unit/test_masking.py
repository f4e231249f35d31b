"""No password leaves in a text, however its address was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.masking import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mqtt://line:geheim@host:1883", "mqtt://***@host:1883"),
        ('found the text "mqtt//line:geheim@host"', 'found the text "mqtt//***@host"'),
        ("line:geheim@host/db", "***@host/db"),
        ("postgresql://u:ge@heim@host/db", "postgresql://***@host/db"),
        ("postgresql://u:ge heim@host/db", "postgresql://***@host/db"),
        ("postgresql://host:1/db?password=geheim is not there", "postgresql://host:1/db?*** is not there"),
        ('station.yaml:14:7 machines.tester.prot: unknown key; did you mean "protocol"?', None),
        ("opc.tcp://127.0.0.1:4840/path", None),
        ("did you mean opc.tcp://127.0.0.1:4840?", "did you mean opc.tcp://127.0.0.1:4840?***"),
    ],
)
def test_what_an_address_tells(text: str, shown: str | None) -> None:
    assert masked(text) == (text if shown is None else shown)


@given(
    password=st.text(min_size=1).map(lambda text: f"geheim{text}"), scheme=st.sampled_from(["mqtt", "postgresql", ""])
)
def test_no_password_is_left_whatever_it_holds(password: str, scheme: str) -> None:
    assert "geheim" not in masked(f"cannot use {scheme}://user:{password}@host:1/db, says the broker")
