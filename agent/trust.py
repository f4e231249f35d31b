"""What ``neurohub-agent trust`` does: shows a machine's certificate, and trusts it when somebody has compared it."""

from collections.abc import Callable

from agent.settings import StationSettings
from contracts.errors import SetupError
from drivers.base import Certificate, Trusting
from drivers.registry import protocols

Say = Callable[[str], None]
Ask = Callable[[str], bool]


async def trust_machine(settings: StationSettings, name: str, fingerprint: str | None, say: Say, ask: Ask) -> bool:
    """Make the station's own certificate where there is none, then trust the machine's. False: nobody agreed.

    ``fingerprint`` is what the certificate has to have; without it ``ask`` is asked. Raises LinkError or SetupError.
    """
    machine = settings.machines.get(name)
    if machine is None:
        raise SetupError(f"the station has no machine {name}; it has {', '.join(settings.machines)}")
    driver = protocols()[machine.protocol].driver(name, machine.wire)
    if not isinstance(driver, Trusting):
        raise SetupError(f"machine {name}: protocol {machine.protocol} knows no certificates")
    own = driver.make_own_certificate()
    if own is not None:
        say("The station had no certificate yet; this one was made. Trust it at the machine:")
        say(_in_words(own))
    shown, why = await driver.shown_certificate()
    say(f"Machine {name} shows this certificate:")
    say(_in_words(shown))
    if why is None:
        say("It is trusted already.")
        return True
    say(f"It {why}.")
    if fingerprint is not None:
        if _plain(fingerprint) not in (_plain(shown.fingerprint), _plain(shown.thumbprint)):
            raise SetupError(f"machine {name}: this is not the certificate with fingerprint {fingerprint}; not trusted")
    elif not ask("Is this what the machine itself shows? Trust it from now on?"):
        say("Not trusted.")
        return False
    say(f"Trusted: {driver.trust(shown)}")
    return True


def _in_words(certificate: Certificate) -> str:
    lines = {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "valid": f"{certificate.valid_from:%Y-%m-%d} to {certificate.valid_until:%Y-%m-%d}",
        "SHA-256": certificate.fingerprint,
        "thumbprint": certificate.thumbprint,
    }
    return "\n".join(f"  {name:<10}  {value}" for name, value in lines.items())


def _plain(fingerprint: str) -> str:
    return "".join(char for char in fingerprint.upper() if char.isalnum())
