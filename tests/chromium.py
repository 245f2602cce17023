"""A headless Chromium over the WebDriver protocol, in plain HTTP: nothing to install but the browser itself."""
import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
ABSENT = "" if BROWSER and DRIVER else "no chromium with chromedriver here: the page was not opened in a browser"
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
KEYS = {"Escape": "\ue00c", "Enter": "\ue007", "Tab": "\ue004", "ArrowRight": "\ue014", "ArrowLeft": "\ue012",
        "ArrowDown": "\ue015", "ArrowUp": "\ue013"}


class Chromium:
    """One browser window; close it at the end."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self._driver = subprocess.Popen([str(DRIVER), f"--port={self._url.rpartition(':')[2]}"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        options = {"goog:chromeOptions": {"binary": BROWSER, "args": FLAGS}, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            self._wait_for_driver()
            self._session = ""
            made = self._call("POST", "session", {"capabilities": {"alwaysMatch": options}})
            self._session = f"session/{made['sessionId']}/"
        except BaseException:
            self._driver.terminate()
            raise

    def open(self, page: Path | str, width: int = 1400, height: int = 900, scheme: str = "light") -> None:
        """Open a file or an address in a window of a size, under a colour scheme."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                     mobile=width < 600)
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._call("POST", "url", {"url": page if isinstance(page, str) else page.as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page and return what it returns."""
        return self._call("POST", "execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, condition: str, seconds: float = 10) -> Any:
        """Wait until an expression is true in the page, and return its value."""
        end = time.monotonic() + seconds
        while not (value := self.run(f"return {condition}")):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.03)
        return value

    def press(self, *keys: str) -> None:
        """Type keys, by character or by name."""
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def choose_files(self, selector: str, *paths: Path) -> None:
        """Choose files in an input as a person does in the browser's dialogue."""
        root = self.command("DOM.getDocument")["root"]["nodeId"]
        node = self.command("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.command("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def drag(self, selector: str, target: str) -> None:
        """Drag the middle of one element to just above the lower end of another, by pointer."""
        points = self.run("""return arguments[0].map((selector, index) => {
            const box = document.querySelector(selector).getBoundingClientRect();
            return [box.left + box.width / 2, index ? box.bottom - 4 : box.top + box.height / 2].map(Math.round);
        })""", [selector, target])
        moves = [{"type": "pointerMove", "x": x, "y": y, "duration": 30} for x, y in points]
        actions = [moves[0], {"type": "pointerDown", "button": 0}, moves[1], {"type": "pointerUp", "button": 0}]
        self._call("POST", "actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def messages(self) -> list[str]:
        """What the browser complained about since the last call: errors, refused by the policy, failed loads."""
        return [entry["message"] for entry in self._call("POST", "se/log", {"type": "browser"})]

    def screenshot(self, path: Path) -> Path:
        """Save what the window shows as a PNG."""
        path.write_bytes(base64.b64decode(self._call("GET", "screenshot")))
        return path

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self._call("POST", "goog/cdp/execute", {"cmd": name, "params": parameters})

    def close(self) -> None:
        """End the browser."""
        try:
            self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(10)

    def _wait_for_driver(self) -> None:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{self._url}/status", timeout=5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError("chromedriver did not answer within 10 s")

    def _call(self, method: str, path: str, body: dict | None = None) -> Any:
        url = f"{self._url}/{path if path == 'session' else self._session + path}".rstrip("/")
        content = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(url, content, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None
