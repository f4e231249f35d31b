"""Labels looked at by others: rendered by an independent ZPL renderer, read by an independent barcode decoder."""

import base64
import io
import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import zxingcpp
from PIL import Image, ImageOps

RENDERER = Path(__file__).parents[1] / "interop" / "label"
DOTS_PER_MM = 8
_ENLARGED = 3
"""A decoder works on a photograph, whose modules are larger than a dot."""
_QUIET_DOTS = 40


class Renderer:
    """``with Renderer() as renderer``: one process that renders label after label; starting it takes seconds."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["node", "render.mjs"], cwd=RENDERER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=20)

    def picture(self, zpl: str, width_mm: float, height_mm: float) -> Image.Image:
        """The label in black and white, at 8 dots per mm. AssertionError for what cannot be rendered."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        wanted = {"zpl": zpl, "width_mm": width_mm, "height_mm": height_mm, "dots_per_mm": DOTS_PER_MM}
        print(json.dumps(wanted), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline() or '{"error": "the renderer has ended"}')
        assert "png" in answer, f"not rendered: {answer['error']}: {zpl}"
        picture = Image.open(io.BytesIO(base64.b64decode(answer["png"]))).convert("L")
        return picture.point(lambda level: 255 if level > 127 else 0)


def codes_in(picture: Image.Image) -> set[tuple[str, str]]:
    """Kind and text of every barcode in the picture."""
    enlarged = ImageOps.expand(ImageOps.scale(picture, _ENLARGED, resample=0), _QUIET_DOTS, fill=255)
    return {(code.format.name.upper(), code.text) for code in zxingcpp.read_barcodes(enlarged)}


def black_box(picture: Image.Image) -> tuple[int, int, int, int] | None:
    """Left, upper, right, lower edge of all that is black, in dots; None for an empty label."""
    return ImageOps.invert(picture).getbbox()
