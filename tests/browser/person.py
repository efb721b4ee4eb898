"""A person at the notes application: finds controls by their names, types, clicks, looks."""

import json
import time
from pathlib import Path
from typing import Any

from tests.browser.chromium import Failed, Page

AXE = Path(__file__).parent / "axe" / "axe.min.js"
DESKTOP, TABLET, PHONE = (1440, 900), (1000, 760), (390, 844)
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "/": 191, "s": 83, " ": 32}

# The controls that are to be seen, each with the name that a screen reader says.
_FIND = """(name, within) => {
  const label = (e) => e.getAttribute('aria-label') ?? e.labels?.[0]?.innerText ?? e.innerText;
  const names = (e) => [label(e).trim(), label(e).trim().split('\\n')[0].trim()];
  const dialog = document.querySelector('dialog[open]');
  const scope = dialog ?? document.querySelector(within) ?? document;
  return [...scope.querySelectorAll('a, button, input, textarea, select')].find(
    (e) => e.checkVisibility({visibilityProperty: true}) && names(e).includes(name));
}"""


class Person(Page):
    """A browser window with somebody before it."""

    def __init__(
        self, url: str, size: tuple[int, int] = DESKTOP, *, dark: bool = False, touch: bool = False
    ) -> None:
        super().__init__("about:blank")
        self.url, self.size, self.dark, self.touch = url, size, dark, touch
        self.send("Network.enable")
        self.resize(size, dark=dark, touch=touch)
        self.go("")

    def resize(self, size: tuple[int, int], *, dark: bool = False, touch: bool = False) -> None:
        """Change the size of the window, and the colours that the system prefers."""
        width, height = size
        metrics: dict[str, Any] = {"width": width, "height": height, "mobile": touch}
        self.send("Emulation.setDeviceMetricsOverride", deviceScaleFactor=1, **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def go(self, address: str) -> None:
        """Open an address of the application from nothing."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=f"{self.url}/{address}")
        self.wait_for("document.querySelector('main') && true")

    def network(self, *, on: bool) -> None:
        """Take the network away, or give it back."""
        limits = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.send("Network.emulateNetworkConditions", offline=not on, **limits)

    def press(self, name: str, within: str = "body") -> None:
        """Click the control with this name."""
        x, y = self._place(name, within)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def fill(self, name: str, text: str, within: str = "body") -> None:
        """Replace the text of the field with this name."""
        field = f"({_FIND})({json.dumps(name)}, {json.dumps(within)})"
        for _ in range(5):  # a page that changes at this moment may take the focus
            self.press(name, within)
            if self.comes_true(f"document.activeElement === {field}", 2):
                break
        self.wait_for(f"document.activeElement === {field}")
        self.type(text)

    def sees(self, text: str, within: str = "body") -> None:
        """Wait until the page shows a text."""
        self.wait_for(f"document.querySelector({within!r})?.innerText.includes({json.dumps(text)})")

    def misses(self, text: str, within: str = "body") -> None:
        """Wait until the page does not show a text."""
        self.wait_for(
            f"!(document.querySelector({within!r})?.innerText ?? '').includes({json.dumps(text)})"
        )

    def press_key(self, key: str, *, control: bool = False, shift: bool = False) -> None:
        """Press and release a key."""
        texts = {"Enter": "\r", " ": " ", "/": "/"}
        modifiers = 2 * control + 8 * shift
        for kind in ("keyDown", "keyUp"):
            text = texts.get(key, "") if kind == "keyDown" and not control else ""
            self.send(
                "Input.dispatchKeyEvent",
                type=kind, key=key, windowsVirtualKeyCode=KEYS[key], modifiers=modifiers, text=text,
            )  # fmt: skip

    def tab_to(self, name: str) -> None:
        """Press Tab until the control with this name has the focus."""
        for _ in range(120):
            self.press_key("Tab")
            if self.evaluate(f"({_FIND})({json.dumps(name)}) === document.activeElement"):
                return
        raise Failed(f"Tab never reaches {name}")

    def api(self, query: str, variables: dict[str, Any] | None = None) -> Any:
        """Send a request as another tab of this browser would; return its data."""
        body = json.dumps({"query": query, "variables": variables or {}})
        code = (
            "fetch('/graphql', {method: 'POST', headers: {'Content-Type': 'application/json'},"
            f" body: {json.dumps(body)}}}).then((response) => response.json())"
        )
        return self.promised(code)["data"]

    def check_accessibility(self, name: str) -> None:
        """Fail if axe-core finds anything, in light or in dark colours."""
        if not self.evaluate("Boolean(window.axe)"):
            self.send("Runtime.evaluate", expression=AXE.read_text())
        code = (
            "axe.run().then(({violations}) => violations.flatMap(({id, nodes}) =>"
            " nodes.map(({html, failureSummary}) => [id, html.slice(0, 160), failureSummary])))"
        )
        for dark in (not self.dark, self.dark):
            self.resize(self.size, dark=dark, touch=self.touch)
            found = self.promised(code)
            if found:
                raise Failed(f"{name}: axe-core finds {json.dumps(found, indent=1)}")

    def promised(self, expression: str) -> Any:
        """Return what the promise of a JavaScript expression resolves to."""
        result = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise Failed(f"{expression[:200]}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def _place(self, name: str, within: str) -> tuple[float, float]:
        """Return the middle of a control that has stopped moving."""
        before = None
        place = self._middle(name, within)
        while place != before:
            time.sleep(0.05)
            before, place = place, self._middle(name, within)
        return place

    def _middle(self, name: str, within: str) -> tuple[float, float]:
        """Return the middle of a control, which nothing may cover."""
        arguments = f"{json.dumps(name)}, {json.dumps(within)}"
        self.wait_for(f"Boolean(({_FIND})({arguments}))")
        return self.wait_for(
            f"(() => {{ const e = ({_FIND})({arguments}); if (!e) return null;"
            " e.scrollIntoView({block: 'center', behavior: 'instant'});"
            " const r = e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2;"
            " const top = document.elementFromPoint(x, y);"
            " return e.contains(top) || e.labels?.[0]?.contains(top) ? [x, y] : null; })()"
        )
