"""A headless Chromium, controlled over its debugging pipe, without a driver or a library.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# The browser reads commands from descriptor 3 and writes to 4. The descriptors of the pipes are
# greater than 4, or the first one is 3 or 4. Some shells know no descriptor of two digits.
_WITH_PIPES = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
    " os.execvp(sys.argv[3], sys.argv[3:])"
)
PATIENCE = 60  # seconds that a wait may take


class Failed(Exception):
    """The browser did not reach the expected state in time."""


class Page:
    """A browser with one page; a context manager."""

    def __init__(self, url: str) -> None:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            raise Failed(f"none of {', '.join(PROGRAMS)} is installed")
        self.problems: list[str] = []  # errors of the console and of the security policy
        self._number = 0
        self._buffer = b""
        self._session: str | None = None
        self._profile = tempfile.TemporaryDirectory(prefix="pcf-chromium-")
        command_read, self._commands = os.pipe()
        self._events, event_write = os.pipe()
        arguments = [
            program, "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu",
            "--disable-dev-shm-usage", "--window-size=1400,900",
            f"--user-data-dir={self._profile.name}",
        ]  # fmt: skip
        if os.getuid() == 0:
            arguments.append("--no-sandbox")  # Chromium does not start as root with its sandbox
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WITH_PIPES, str(command_read), str(event_write), *arguments],
            pass_fds=(command_read, event_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_read)
        os.close(event_write)
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Audits"):
            self.send(f"{domain}.enable")
        self.send("Page.navigate", url=url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            os.close(self._commands)
        self._process.terminate()
        self._process.wait(PATIENCE)
        os.close(self._events)
        with suppress(OSError):
            self._profile.cleanup()

    def send(self, method: str, **params: Any) -> Any:
        """Send a command and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise Failed(f"{expression}: {result['exceptionDetails']['text']}")
        return result["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Wait until an expression is true; return its value."""
        end = time.monotonic() + PATIENCE
        while not (value := self.evaluate(expression)):
            if time.monotonic() > end:
                raise Failed(f"never true: {expression}")
            time.sleep(0.05)
        return value

    def comes_true(self, expression: str, seconds: float) -> bool:
        """Wait until an expression is true, for ``seconds`` at most; return whether it is."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of an element."""
        box = self.evaluate(
            f"(() => {{ const r = document.querySelector({selector!r}).getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send(
                "Input.dispatchMouseEvent",
                type=kind, x=box[0], y=box[1], button="left", clickCount=1,
            )  # fmt: skip

    def type(self, text: str) -> None:
        """Replace the text of the focused field by ``text``."""
        self.key("a", 65, control=True)
        self.send("Input.insertText", text=text)

    def key(self, key: str, code: int, *, control: bool = False) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind, key=key, windowsVirtualKeyCode=code, modifiers=2 if control else 0,
                commands=["selectAll"] if (key, control, kind) == ("a", True, "keyDown") else [],
            )  # fmt: skip

    def screenshot(self, path: Path) -> None:
        """Write a picture of the page to a PNG file."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._events, 1 << 16)
            if not piece:
                raise Failed("the browser is gone")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        received: dict[str, Any] = json.loads(message)
        return received

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                entry = params["entry"]
                self.problems.append(f"{entry['text']} {entry.get('url', '')}".strip())
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                exception = details.get("exception", {}).get("description", "")
                self.problems.append(f"{details['text']} {exception}".strip())
            case "Audits.issueAdded" if "contentSecurityPolicy" in json.dumps(params)[:400]:
                self.problems.append(json.dumps(params)[:400])
