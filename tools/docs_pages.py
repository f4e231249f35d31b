"""What the documents' site needs beside docs/: the protocols' READMEs as pages, lists of decisions and sessions.

mkdocs calls these (https://www.mkdocs.org/user-guide/configuration/#hooks). Links are written for somebody who reads
the files in the repository; here they are led to the site's pages. What is no page is left as its name, and must exist.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PROTOCOLS = ("opcua", "modbus", "serial", "label", "process")
_LINK = re.compile(r"\[([^\]]+)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]+)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every decision, and every recorded session, into the menu."""
    assert config.nav is not None
    for section in config.nav:
        for name in {"Decisions", "Sessions"} & set(section if isinstance(section, dict) else ()):
            folder = name.lower()
            section[name] = sorted(f"{folder}/{path.name}" for path in (ROOT / "docs" / folder).glob("*.md"))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each protocol."""
    for name in PROTOCOLS:
        text = (ROOT / "drivers" / name / "README.md").read_text(encoding="utf-8")
        files.append(File.generated(config, f"protocols/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, files: Files, **_: Any) -> str:
    """Lead each link to a page of the site. Raises PluginError for one to a file that is not there."""
    here = _in_repository(page.file.src_uri)

    def led(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        if not (ROOT / path).exists():
            raise PluginError(f"{here}: the link to {target} leads nowhere")
        to = _on_site(path)
        found = files.get_file_from_path(to)
        if found is None or not found.is_documentation_page():
            return text
        return f"[{text}]({posixpath.relpath(to, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    return _LINK.sub(led, markdown)


def _in_repository(page: str) -> str:
    protocol = page.removeprefix("protocols/").removesuffix(".md")
    return f"drivers/{protocol}/README.md" if page.startswith("protocols/") else f"docs/{page}"


def _on_site(path: str) -> str:
    match = re.fullmatch(r"drivers/(\w+)/README\.md", path)
    return f"protocols/{match[1]}.md" if match else path.removeprefix("docs/")
