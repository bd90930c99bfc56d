"""A headless Chromium, spoken to through a pipe: no driver, no port, no network."""

import base64
import io
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image

FLAGS = (
    "--headless --no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--hide-scrollbars --force-device-scale-factor=1 --remote-debugging-pipe"
).split()
PATIENCE = 60.0  # seconds


class Page:
    """One page in the browser, and everything it said or asked for since it was opened."""

    def __init__(self, send: int, receive: int):
        self._send, self._receive = send, receive
        self._count, self._rest, self._session = 0, b"", ""
        self.said: list[str] = []
        self.asked: list[str] = []

    def attach(self, width: int, height: int) -> None:
        target = self.call("Target.createTarget", url="about:blank")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def open(self, path: Path, fragment: str = "") -> "Page":
        """Load the file, and wait until the page says that it has drawn or cannot."""
        self.said.clear()
        self.asked.clear()
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.resolve().as_uri() + fragment)
        self.until("document.documentElement.dataset.state !== 'loading'")
        return self

    def until(self, condition: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self.run(f"document.readyState === 'complete' && ({condition})"):
            assert time.monotonic() < end, f"never came: {condition}; page said {self.said}"
            time.sleep(0.05)

    def run(self, script: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def settle(self) -> None:
        """Two frames later, when what was asked for has been drawn."""
        self.run("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self.settle()

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        for kind, (x, y), buttons in (
            ("mousePressed", start, 1),
            ("mouseMoved", end, 1),
            ("mouseReleased", end, 0),
        ):
            self.call(
                "Input.dispatchMouseEvent",
                **{"type": kind, "x": x, "y": y, "button": "left"},
                **{"buttons": buttons, "clickCount": 1},
            )
        self.settle()

    def wheel(self, x: int, y: int, down: int) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=down)
        self.settle()

    def screenshot(self) -> np.ndarray:
        """[height, width, 3] uint8."""
        self.settle()
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return (image.imread(io.BytesIO(data), format="png")[..., :3] * 255).round().astype("u1")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _note(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        if event.get("method") == "Runtime.consoleAPICalled":
            self.said.append(str([a.get("value") for a in told["args"]]))
        elif event.get("method") == "Runtime.exceptionThrown":
            self.said.append(str(told["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded":
            self.said.append(told["entry"]["text"])
        elif event.get("method") == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._receive], [], [], PATIENCE)[0], "the browser fell silent"
            came = os.read(self._receive, 1 << 20)
            assert came, "the browser ended"
            self._rest += came
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextmanager
def browser(*flags: str, width: int = 1100, height: int = 700) -> Iterator[Page]:
    """A page of a fresh browser, or a skip where no Chromium is installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    if not (binary := next(filter(None, map(shutil.which, names)), None)):
        pytest.skip("no Chromium on this machine")
    commands, answers = os.pipe(), os.pipe()

    def wire() -> None:
        # Beyond 4 first: a pipe may already sit where the browser expects another one.
        inward, outward = os.dup(commands[0]), os.dup(answers[1])
        os.dup2(inward, 3)
        os.dup2(outward, 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [binary, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(3, 4),
            preexec_fn=wire,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            page = Page(commands[1], answers[0])
            page.attach(width, height)
            yield page
        finally:
            process.terminate()
            process.wait(PATIENCE)
            for end in (*commands, *answers):
                os.close(end)
