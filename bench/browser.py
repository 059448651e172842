"""A page in headless Chromium, spoken to by the DevTools protocol: what the benchmarks of pages stand on."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil

# Points are drawn by the processor, so that the same is measured on every machine.
FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
SIZES = (360, 768, 1280, 1920)
SCHEMES = ("light", "dark")


class Tab:
    """One page. `errors`: what it complained of on the console, and exceptions."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, browser: psutil.Process) -> None:
        self._socket, self._last, self._browser = socket, 0, browser
        self._waiting: dict[int, asyncio.Future] = {}
        self.errors: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            found = json.loads(message.data)
            if "id" in found and (future := self._waiting.pop(found["id"], None)) is not None:
                future.set_result(found)
            params = found.get("params", {})
            if found.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(params["exceptionDetails"].get("exception", {}).get("description")))
            if found.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
                self.errors.append(params["entry"]["text"])
            if found.get("method") == "Runtime.consoleAPICalled" and params["type"] in {"error", "assert"}:
                self.errors.append(" ".join(str(one.get("value")) for one in params["args"]))

    async def send(self, method: str, **params: Any) -> dict:
        """Call one method of the protocol."""
        self._last += 1
        self._waiting[self._last] = future = asyncio.get_running_loop().create_future()
        await self._socket.send_str(json.dumps({"id": self._last, "method": method, "params": params}))
        answer = await asyncio.wait_for(future, 120)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    async def run(self, script: str) -> Any:
        """Evaluate an expression in the page, waiting for a promise; returns its value."""
        answer = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"].get("exception", {}).get("description")))
        return answer["result"].get("value")

    async def until(self, script: str, seconds: float = 60) -> float:
        """Wait until an expression is true; returns the seconds that it took."""
        started = time.perf_counter()
        while not await self.run(script):
            if time.perf_counter() - started > seconds:
                raise RuntimeError(f"still not so after {seconds} s: {script}")
            await asyncio.sleep(0.02)
        return time.perf_counter() - started

    async def open(self, address: str, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Load a page at a size, in a colour scheme."""
        self.errors.clear()
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.send("Emulation.setEmulatedMedia", features=features)
        await self.send("Page.navigate", url=address)

    async def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Move or press the mouse."""
        held = {"button": "left", "buttons": 1, "clickCount": 1}
        await self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **(held | more))

    async def metrics(self) -> dict[str, float]:
        """Return the browser's own counters, in seconds and pieces."""
        answer = await self.send("Performance.getMetrics")
        return {one["name"]: one["value"] for one in answer["metrics"]}

    def spent(self) -> float:
        """Return the seconds of the processor that the browser, with all its processes, has used so far."""
        whole = 0.0
        for process in (self._browser, *self._browser.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                whole += times.user + times.system
        return whole

    async def picture(self, path: Path, *, whole: bool = True) -> None:
        """Save a screenshot, of the whole page or of what a window shows."""
        clip = {}
        if whole:
            size = (await self.send("Page.getLayoutMetrics"))["cssContentSize"]
            clip = {"clip": {**size, "x": 0, "y": 0, "scale": 1}, "captureBeyondViewport": True}
        answer = await self.send("Page.captureScreenshot", format="png", **clip)
        path.write_bytes(base64.b64decode(answer["data"]))


@asynccontextmanager
async def tab(chromium: str = "chromium"):
    """Start Chromium with one page; it ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="chromium-"))
    program = [chromium, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        said = folder / "DevToolsActivePort"
        while not (said.exists() and said.read_text().count("\n")):
            if process.poll() is not None:
                raise RuntimeError(f"{chromium} ended with {process.returncode}")
            await asyncio.sleep(0.05)
        port = said.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [one for one in await answer.json() if one["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                found = Tab(socket, psutil.Process(process.pid))
                for domain in ("Page", "Runtime", "Log", "Performance"):
                    await found.send(f"{domain}.enable")
                yield found
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def load_of_the_machine() -> float:
    """Return how much other work waits for the same cores."""
    return os.getloadavg()[0]
