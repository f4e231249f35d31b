"""Interoperation with node-opcua over secure channels: both sides are strict, and only what was asked for is taken."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import SetupError
from drivers.opcua.certificates import fingerprint, loaded
from tests.support.node_opcua import NodeTester, result, running
from tests.support.opcua import changed, opened, take, values
from tests.support.processes import Process

POLICIES = ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]
USER = {"user": "operator", "password": "correct horse"}
STATION = """
station: {{id: P06-X, site: gimcheon, line: KR01, process: P06_PERFORMANCE_TEST}}
broker: {{url: "mqtt://127.0.0.1:1883"}}
machines:
  tester:
    protocol: opcua
    connect: {connect}
    namespaces: {{site: "urn:site:line"}}
    trigger: {{point: n}}
    points: {{n: {{node_id: "ns=site;s=Tester.n"}}, serial_number: {{node_id: "ns=site;s=Tester.serial"}}}}
    cycle_key: n
"""


def secured(machine: NodeTester, folder: Path) -> dict[str, Any]:
    """Keys of a station that has no certificate yet, trusts nobody, and knows its password."""
    password = folder / "password"
    password.write_text(USER["password"] + "\n", encoding="utf-8")
    security = {
        "policy": POLICIES[0],
        "mode": "SignAndEncrypt",
        "certificate": str(folder / "own.der"),
        "key": str(folder / "own.pem"),
        "trusted": str(folder / "trusted"),
    }
    user = {"name": USER["user"], "password_file": str(password)}
    return changed(machine.keys(), {"connect.security": security, "connect.user": user})


async def trust_command(keys: dict[str, Any], folder: Path, told: str) -> list[str]:
    """The command as a technician types it, with the fingerprint the machine's own screen shows."""
    file = folder / "P06-X.yaml"
    file.write_text(STATION.format(connect=json.dumps(keys["connect"])), encoding="utf-8")
    command = [sys.executable, "-m", "agent", "trust", file, "tester", "--fingerprint", told]
    async with Process(command) as process:
        code = await process.ended(timeout_s=60)
        return [str(code), *process.output]


def let_in(machine: NodeTester) -> None:
    """What the machine's technician does with a certificate that was rejected."""
    (rejected,) = (machine.pki / "rejected").iterdir()
    shutil.move(rejected, machine.pki / "trusted" / "certs" / rejected.name)


async def refused(keys: dict[str, Any], says: str) -> str:
    """The driver is not let in, and says this. The whole of what it says."""
    with pytest.raises(SetupError, match=re.escape(says)) as told:
        async with opened(keys):
            pass
    return str(told.value)


async def test_both_sides_are_strangers_until_each_is_told_to_trust_the_other(tmp_path: Path) -> None:
    """And then every policy works in every mode, for the right user alone."""
    async with running(tmp_path, **USER, policies=["None", POLICIES[0]]) as machine:
        keys = secured(machine, tmp_path)
        shown = fingerprint(loaded(next((machine.pki / "own" / "certs").iterdir()), "the server's certificate"))

        code, *output = await trust_command(keys, tmp_path, "AB:CD")
        assert code == "1", output
        assert "this is not the certificate with fingerprint AB:CD; not trusted" in " ".join(output)
        said = await refused(keys, f"is new to this station; its SHA-256 fingerprint is {shown}")
        assert "trust it with neurohub-agent trust FILE marker" in said
        assert not (tmp_path / "trusted").exists()
        code, *output = await trust_command(keys, tmp_path, shown)
        assert code == "0", output

        said = await refused(
            changed(keys, {"connect.security.policy": POLICIES[2]}),
            f"the server does not offer {POLICIES[2]} with SignAndEncrypt; it offers {POLICIES[0]} with Sign, ",
        )
        assert f"{POLICIES[0]} with SignAndEncrypt, no security; change connect.security" in said
        said = await refused(keys, f"the server refuses this station's certificate {tmp_path / 'own.der'}")
        assert "trust it at the machine" in said
        await machine.kill()
        let_in(machine)
        await machine.start(**USER, policies=POLICIES)  # node-opcua looks at its folders as it starts

        number = 1
        for policy in POLICIES:
            for mode in ("SignAndEncrypt", "Sign"):
                here = changed(keys, {"connect.security.policy": policy, "connect.security.mode": mode})
                async with opened(here) as driver:
                    _, reading = await take(driver)
                    assert values(reading) == result(number)
                    await driver.acknowledge(reading, number)
                    number += 1

        wrong = tmp_path / "wrong"
        wrong.write_text("battery staple", encoding="utf-8")
        said = await refused(
            changed(keys, {"connect.user.password_file": str(wrong)}), "the server refuses operator (Bad"
        )
        assert "battery" not in said
        await refused(changed(keys, {"connect.user.name": "nobody"}), "the server refuses nobody (Bad")
        await refused(changed(keys, {"connect.user": None}), "the server lets nobody in without a name (Bad")


async def test_an_open_link_is_never_taken_for_a_secure_one_nor_the_other_way_round(tmp_path: Path) -> None:
    async with running(tmp_path, policies=["None"]) as machine:
        keys = secured(machine, tmp_path)
        await refused(keys, "it offers no security; change connect.security, or the server's settings")
        await machine.kill()
        await machine.start(policies=["Basic256Sha256"], discovery=False)
        await refused(machine.keys(), "the server does not allow an insecure link; set connect.security")
        await refused(keys, "the server tells nobody what it offers, and so shows no certificate; switch its discovery")
