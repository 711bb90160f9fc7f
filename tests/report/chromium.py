"""Headless Chromium, spoken to through a pipe in its own DevTools protocol; no library needed."""

import json
import os
import select
import shutil
import subprocess
import tempfile
from pathlib import Path

# As root and in a container it has no sandbox; the rest keeps it from asking the network for news.
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"),
)
_NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60


def path():
    """Where the browser is; None if there is none."""
    return os.environ.get("BROWSER_FOR_TESTS") or next(
        filter(None, map(shutil.which, _NAMES)), None
    )


class Chromium:
    """A browser for the while, with as many pages as are opened."""

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def at_three_and_four():
            # Copies first: one of the ends may be 3 or 4 itself.
            reads, writes = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self._process = subprocess.Popen(
            [path(), *_OPTIONS, f"--user-data-dir={self._folder.name}", "about:blank"],
            preexec_fn=at_three_and_four,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        self._last, self._rest, self.events = 0, b"", []
        return self

    def __exit__(self, *_):
        try:
            self.ask("Browser.close")
            self._process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._folder.cleanup()

    def ask(self, method, session=None, **told):
        """Sends one command and waits for its answer; events that come meanwhile are kept."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": told}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    def wait_for(self, method, session):
        """Waits for an event of a page, which may have come already."""
        while not any(e["method"] == method and e.get("sessionId") == session for e in self.events):
            self._next()

    def _next(self):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], PATIENCE)
            piece = os.read(self._in, 1 << 20) if ready else b""
            if not piece:
                raise AssertionError("the browser does not answer")
            self._rest += piece
        one, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(one)
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, file, width=1400, height=1000):
        """A page of a file, loaded."""
        target = self.ask("Target.createTarget", url="about:blank")
        told = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, told["sessionId"], target["targetId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        size = dict(width=width, height=height, deviceScaleFactor=1, mobile=False)
        page.ask("Emulation.setDeviceMetricsOverride", **size)
        page.ask("Page.navigate", url=Path(file).resolve().as_uri())
        self.wait_for("Page.loadEventFired", told["sessionId"])
        return page


class Page:
    """One page: what it holds, what it asked for, and what it complained about."""

    def __init__(self, browser, session, target):
        self._browser, self._session, self._target = browser, session, target

    def ask(self, method, **told):
        return self._browser.ask(method, self._session, **told)

    def run(self, script):
        """The value of a JavaScript expression."""
        told = self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in told:
            raise AssertionError(told["exceptionDetails"])
        return told["result"].get("value")

    def texts(self, selector):
        """The text of each element."""
        find = f"[...document.querySelectorAll({json.dumps(selector)})]"
        return self.run(f"{find}.map((one) => one.textContent)")

    def click(self, selector):
        """A click on the first element, by its place on the page."""
        find = f"document.querySelector({json.dumps(selector)})"
        x, y = self.run(
            f"{find}.scrollIntoView({{block: 'center'}}), "
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"({find}.getBoundingClientRect())"
        )
        self.click_at(x, y)

    def click_at(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            told = dict(type=kind, x=x, y=y, button="left", clickCount=1)
            self.ask("Input.dispatchMouseEvent", **told)

    def press(self, key, code=0, text=""):
        told = dict(key=key, windowsVirtualKeyCode=code, text=text)
        self.ask("Input.dispatchKeyEvent", type="keyDown", **told)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def write(self, text):
        self.ask("Input.insertText", text=text)

    def picture(self):
        """The page as PNG, in base64."""
        return self.ask("Page.captureScreenshot", format="png")["data"]

    def events(self, method):
        """The parameters of what happened on this page."""
        return [
            event["params"]
            for event in self._browser.events
            if event["method"] == method and event.get("sessionId") == self._session
        ]

    @property
    def asked_for(self):
        """The addresses of everything that the page loaded or tried to."""
        return [told["request"]["url"] for told in self.events("Network.requestWillBeSent")]

    @property
    def complaints(self):
        """Errors and warnings on the console, uncaught ones among them."""
        logged = [told["entry"]["text"] for told in self.events("Log.entryAdded")]
        called = [str(told["args"]) for told in self.events("Runtime.consoleAPICalled")]
        thrown = [str(told["exceptionDetails"]) for told in self.events("Runtime.exceptionThrown")]
        return [*logged, *called, *thrown]

    def close(self):
        self._browser.ask("Target.closeTarget", targetId=self._target)
