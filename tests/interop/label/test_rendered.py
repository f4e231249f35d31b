"""Our labels as an independent renderer draws them: their codes read back, all their text on the label."""

import string
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from agent.settings import load
from contracts.measurement import Scalar
from drivers.label.driver import LabelDriver
from drivers.label.settings import LabelSettings
from drivers.label.simulator import LabelSimulator
from drivers.label.zpl import filled
from tests.support.labels import DOTS_PER_MM, Renderer, black_box, codes_in

WIDTH_MM, HEIGHT_MM = 60, 20
DARK = 128
SERIAL = "WF-KR-241118D-001-0001"
JOB: Mapping[str, Scalar] = {
    "serial_number": SERIAL,
    "lot_number": "WF-KR-241118D-001",
    "product_model": "WR-100",
    "date": "2024-11-18",
}
TEXT = """
  ^FO{x},20^A0N,26,22^FD{{serial_number}}^FS
  ^FO{x},60^A0N,22,22^FDLOT {{lot_number}}^FS
  ^FO{x},92^A0N,22,22^FD{{product_model}}^FS
  ^FO{x},124^A0N,22,22^FD{{date}}^FS^XZ
"""
LABELS = {
    "DATAMATRIX": "^XA^CI28^PW480^LL160^FO16,24^BXN,5,200^FD{serial_number}^FS" + TEXT.format(x=160),
    "QRCODE": "^XA^CI28^PW480^LL160^FO16,16^BQN,2,4^FDQA,{serial_number}^FS" + TEXT.format(x=160),
    "CODE128": """^XA^CI28^PW480^LL160^BY1^FO16,100^BCN,48,N,N,N^FD{serial_number}^FS
  ^FO16,12^A0N,26,22^FD{serial_number}^FS
  ^FO16,48^A0N,20,20^FD{lot_number}  {product_model}^FS
  ^FO16,74^A0N,20,20^FD{date}^FS^XZ""",
}
STATIONS = {
    "config": (Path("config/stations/P07-A.yaml"), "DATAMATRIX"),
    "sample": (Path("drivers/label/sample.yaml"), "DATAMATRIX"),
}


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer() as started:
        yield started


def keeps_off_the_edge(picture: Image.Image) -> None:
    """What is cut off at the edge reaches it; a label is never placed to the dot."""
    box = black_box(picture)
    assert box is not None
    left, upper, right, lower = box
    margin = DOTS_PER_MM
    assert left >= margin <= upper
    assert right <= picture.width - margin, f"ends at {right} of {picture.width} dots"
    assert lower <= picture.height - margin, f"ends at {lower} of {picture.height} dots"


@pytest.mark.parametrize("kind", LABELS)
def test_the_code_holds_the_serial_number_and_everything_is_on_the_label(renderer: Renderer, kind: str) -> None:
    zpl = filled(LABELS[kind], JOB)
    picture = renderer.picture(zpl, WIDTH_MM, HEIGHT_MM)
    assert codes_in(picture) == {(kind, SERIAL)}
    keeps_off_the_edge(picture)


@pytest.mark.parametrize("name", STATIONS)
def test_the_labels_we_ship_are_readable(renderer: Renderer, name: str) -> None:
    file, kind = STATIONS[name]
    template = load(file).machines["printer"].protocol_settings
    assert isinstance(template, LabelSettings)
    picture = renderer.picture(filled(template.template, JOB), WIDTH_MM, HEIGHT_MM)
    assert codes_in(picture) == {(kind, SERIAL)}
    keeps_off_the_edge(picture)


def test_the_reject_label_we_ship_is_read_as_no_unit(renderer: Renderer) -> None:
    """No code that a scanner would take for a good label's; dark, and with the number in letters."""
    printer = load(STATIONS["config"][0]).machines["printer"].protocol_settings
    assert isinstance(printer, LabelSettings)
    assert printer.reject_template is not None
    picture = renderer.picture(filled(printer.reject_template, JOB), WIDTH_MM, HEIGHT_MM)
    assert codes_in(picture) == set()
    dark = sum(picture.convert("L").histogram()[:DARK])
    assert dark > picture.width * picture.height / 2
    other = renderer.picture(filled(printer.reject_template, {**JOB, "serial_number": "SN-1"}), WIDTH_MM, HEIGHT_MM)
    assert other.tobytes() != picture.tobytes()


def test_every_value_is_drawn(renderer: Renderer) -> None:
    """Each row of text depends on its own value."""
    whole = renderer.picture(filled(LABELS["DATAMATRIX"], JOB), WIDTH_MM, HEIGHT_MM)
    for name in JOB:
        other = renderer.picture(filled(LABELS["DATAMATRIX"], {**JOB, name: "X"}), WIDTH_MM, HEIGHT_MM)
        assert other.tobytes() != whole.tobytes(), f"{name} is not on the label"


@pytest.mark.parametrize(
    ("kind", "alphabet"),
    [
        # zbar guesses the encoding of a QR code; ASCII is the same in all.
        ("QRCODE", string.ascii_letters + string.digits + string.punctuation + " "),
        ("DATAMATRIX", string.ascii_letters + string.digits + string.punctuation + " "),
        ("CODE128", (string.ascii_letters + string.digits + string.punctuation).replace(">", "")),
    ],
    ids=["qr", "datamatrix", "code128"],
)
def test_any_serial_number_is_read_back_as_it_is(renderer: Renderer, kind: str, alphabet: str) -> None:
    """No character of a value may become a command, of the printer or of the code."""

    @settings(max_examples=10)
    @given(st.text(alphabet, min_size=4, max_size=22))
    def read_back(serial: str) -> None:
        zpl = filled(LABELS[kind], {**JOB, "serial_number": serial})
        assert codes_in(renderer.picture(zpl, WIDTH_MM, HEIGHT_MM)) == {(kind, serial)}

    read_back()


async def test_what_the_driver_sends_is_what_the_verifier_reads(renderer: Renderer) -> None:
    """The whole way: the job, the driver, the wire, the printer, the paper, the scanner."""
    wanted = {"template": LABELS["DATAMATRIX"], "points": {"printed": {"status": "printed"}}}
    here = {**wanted, "connect": {"transport": "tcp", "host": "127.0.0.1"}}
    simulator = LabelSimulator("printer", LabelSettings.model_validate(here))
    reached = await simulator.start()
    here["connect"] = {"transport": "tcp", "host": "127.0.0.1", "port": reached["connect.port"]}
    driver = LabelDriver("printer", LabelSettings.model_validate(here))
    try:
        await driver.open()
        reading = await driver.perform(JOB)
        assert reading.values["printed"].value is True
        picture = renderer.picture(simulator.printed[0], WIDTH_MM, HEIGHT_MM)
        assert codes_in(picture) == {("DATAMATRIX", SERIAL)}
    finally:
        await driver.close()
        await simulator.stop()
