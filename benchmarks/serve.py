"""Load test of `atrous serve` on the loopback address: 1,000 images from 16 parallel clients, or single large images.

Prints the figures of docs/page.md: responses, requests per second, latencies, and the server's memory before and after;
with --large, the peak memory and the time of one request.
    python benchmarks/serve.py [--requests 1000] [--clients 16]
    python benchmarks/serve.py --large 1 4 16
"""

import argparse
import asyncio
import hashlib
import io
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.jpg"))
WARM = 32  # requests before memory is measured, as the runtime's buffers grow with the first ones


async def ask(client: httpx.AsyncClient, url: str, image: Path) -> tuple[int, float, str]:
    """Return a response's status, its latency in seconds and its hash."""
    started = time.perf_counter()
    answer = await client.post(f"{url}/api/segment", files={"image": (image.name, image.read_bytes())})
    return (
        answer.status_code,
        time.perf_counter() - started,
        f"{image.name} {hashlib.sha256(answer.content).hexdigest()}",
    )


async def load(url: str, requests: int, clients: int) -> tuple[list[tuple[int, float, str]], list[str]]:
    """Send all requests. Each client sends its next one after a response. Return responses and failures."""
    left = iter(range(requests))
    answers: list[tuple[int, float, str]] = []
    lost: list[str] = []

    async def client() -> None:
        async with httpx.AsyncClient(timeout=120) as http:
            for number in left:
                try:
                    answers.append(await ask(http, url, EXAMPLES[number % len(EXAMPLES)]))
                except httpx.HTTPError as error:
                    lost.append(repr(error))

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers, lost


def large_image(megapixels: float, motif: str) -> bytes:
    """Return a JPEG with aspect ratio 3:2: the example images tiled at their own scale, or one enlarged."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = int(megapixels * 1e6 / height)
    if motif == "mosaic":
        tiles = [np.asarray(Image.open(path).convert("RGB")) for path in EXAMPLES]
        tiles = [np.pad(t, ((0, 512 - len(t)), (0, 512 - t.shape[1]), (0, 0)), "symmetric") for t in tiles]
        rows = [[tiles[(y + x) % len(tiles)] for x in range(-(-width // 512))] for y in range(-(-height // 512))]
        image = Image.fromarray(np.vstack([np.hstack(row) for row in rows])[:height, :width])
    else:
        (path,) = (path for path in EXAMPLES if path.stem == motif)
        image = Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def peak(process: psutil.Process) -> int:
    """Return the peak memory of a process since `reset_peak`, in bytes (Linux)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def reset_peak(process: psutil.Process) -> None:
    """Reset the peak memory."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def large(url: str, process: psutil.Process, sizes: list[float]) -> None:
    """Send images of growing size one by one, and print a table row for each."""
    with httpx.Client(timeout=600) as client:

        def post(data: bytes, form: str = "png") -> tuple[float, dict[str, Any]]:
            started = time.perf_counter()
            answer = client.post(f"{url}/api/segment", files={"image": data}, data={"format": form})
            assert answer.status_code == 200, answer.text
            return time.perf_counter() - started, answer.json() if form == "json" else {}

        post(EXAMPLES[0].read_bytes())  # warm
        print(
            "| megapixels | image | classes | s | idle, MiB | peak, MiB | bytes per pixel |"
            "\n|---|---|---|---|---|---|---|"
        )
        for megapixels in sizes:
            for motif in ("cat", "photographer", "mosaic"):
                data = large_image(megapixels, motif)
                before = process.memory_info().rss
                reset_peak(process)
                seconds, _ = post(data)
                most = peak(process)
                _, report = post(data, "json")
                cells = (f"{megapixels:g}", motif, str(len(report["classes"])), f"{seconds:.1f}")
                memory = (f"{before / 2**20:.0f}", f"{most / 2**20:.0f}", f"{(most - before) / megapixels / 1e6:.0f}")
                print("| " + " | ".join(cells + memory) + " |", flush=True)


def main() -> None:
    """Start a server, send the requests, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--large", type=float, nargs="+", metavar="MEGAPIXELS")
    options = parser.parse_args()
    command = [sys.executable, "-m", "atrous", "serve", "--port", "0", "--workers", str(options.workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            found = re.match(r"(http://\S+?)/ ", line)
            assert found, line
            url, process = found[1], psutil.Process(server.pid)
            if options.large:
                large(url, process, options.large)
                return
            start = process.memory_info().rss
            asyncio.run(load(url, WARM, options.clients))
            print(f"memory: {start / 2**20:.0f} MiB at the start, ", end="")
            print(f"{process.memory_info().rss / 2**20:.0f} MiB after {WARM} requests, ", end="")
            halves = []
            answers, lost, started = [], [], time.perf_counter()
            for _ in range(2):
                more, gone = asyncio.run(load(url, options.requests // 2, options.clients))
                answers, lost = answers + more, lost + gone
                halves.append(f"{process.memory_info().rss / 2**20:.0f}")
            seconds = time.perf_counter() - started
            print(f"{halves[0]} MiB after half of the load, {halves[1]} MiB after all")
            latencies = np.array([latency for _, latency, _ in answers])
            print(f"responses: {dict(Counter(status for status, _, _ in answers))}, lost: {len(lost)} {lost[:3]}")
            print(f"distinct responses to the {len(EXAMPLES)} images: {len({content for _, _, content in answers})}")
            print(f"{len(answers) / seconds:.2f} requests per second, {seconds:.0f} s")
            for share in (50, 95, 99, 100):
                print(f"latency, {share} %: {np.percentile(latencies, share):.2f} s")
            files = [path for path in process.open_files() if "atrous-" in path.path]
            print(f"open temporary files: {len(files)}, threads: {process.num_threads()}")
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
