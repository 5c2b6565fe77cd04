"""What a real browser makes of a page."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

# The page as it is, in a frame: a browser's own window cannot be as narrow as a phone.
FRAME = """<!doctype html><title></title>
<iframe id="frame" width="{width}" height="900" style="border:0" srcdoc="{page}"></iframe>
<script>addEventListener('load', () => {{
  const inside = document.getElementById('frame'), page = inside.contentDocument.documentElement;
  const wide = [...page.querySelectorAll('body *')].filter(e =>
    e.getBoundingClientRect().right > page.clientWidth + 0.5 && !e.closest('.wide, caption'));
  document.title = 'MEASURED ' + JSON.stringify({{
    inner: inside.contentWindow.innerWidth, client: page.clientWidth, scroll: page.scrollWidth,
    height: page.scrollHeight, wide: wide.slice(0, 9).map(e => e.outerHTML.slice(0, 60)),
    ground: inside.contentWindow.getComputedStyle(page.querySelector('body')).backgroundColor,
  }});
}})</script>"""


def measured(page: str, width: int, folder: Path, scheme: int = 1) -> dict:
    """What a browser makes of the page on a screen of that width."""
    path = folder / "frame.html"
    path.write_text(FRAME.format(width=width, page=html.escape(page)))
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", f"--user-data-dir={folder / 'profile'}"]
    command += [f"--blink-settings=preferredColorScheme={scheme}", "--hide-scrollbars"]
    command += ["--window-size=1400,1000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    (said,) = re.findall(r"<title>MEASURED (\{.*?\})</title>", done.stdout)
    answer: dict = json.loads(html.unescape(said))
    return answer
