"""1,000 photos from 16 clients at a time to `atrous serve` on this machine's loopback.

Prints what docs/page.md tells: answers, requests per second, latencies, and the server's memory before and after.
    python benchmarks/serve.py [--requests 1000] [--clients 16]
"""

import argparse
import asyncio
import hashlib
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import psutil

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.jpg"))
WARM = 32  # requests before memory is looked at: buffers of the runtime grow with the first ones


async def ask(client: httpx.AsyncClient, url: str, photo: Path) -> tuple[int, float, str]:
    """Return an answer's status, its latency in seconds and its hash."""
    begun = time.perf_counter()
    answer = await client.post(f"{url}/api/segment", files={"image": (photo.name, photo.read_bytes())})
    return answer.status_code, time.perf_counter() - begun, f"{photo.name} {hashlib.sha256(answer.content).hexdigest()}"


async def load(url: str, requests: int, clients: int) -> tuple[list[tuple[int, float, str]], list[str]]:
    """Send all requests, each client its next one as soon as it is answered; return answers and failures."""
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


def main() -> None:
    """Start a server, load it, print figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    command = [sys.executable, "-m", "atrous", "serve", "--port", "0", "--workers", str(options.workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            found = re.match(r"(http://\S+?)/ ", line)
            assert found, line
            url, process = found[1], psutil.Process(server.pid)
            start = process.memory_info().rss
            asyncio.run(load(url, WARM, options.clients))
            print(f"memory: {start / 2**20:.0f} MiB at the start, ", end="")
            print(f"{process.memory_info().rss / 2**20:.0f} MiB after {WARM} requests, ", end="")
            halves = []
            answers, lost, begun = [], [], time.perf_counter()
            for _ in range(2):
                more, gone = asyncio.run(load(url, options.requests // 2, options.clients))
                answers, lost = answers + more, lost + gone
                halves.append(f"{process.memory_info().rss / 2**20:.0f}")
            seconds = time.perf_counter() - begun
            print(f"{halves[0]} MiB after half of the load, {halves[1]} MiB after all")
            latencies = np.array([latency for _, latency, _ in answers])
            print(f"answers: {dict(Counter(status for status, _, _ in answers))}, lost: {len(lost)} {lost[:3]}")
            print(f"different answers to the {len(EXAMPLES)} photos: {len({said for _, _, said in answers})}")
            print(f"{len(answers) / seconds:.2f} requests a second, {seconds:.0f} s")
            for share in (50, 95, 99, 100):
                print(f"latency, {share} %: {np.percentile(latencies, share):.2f} s")
            files = [path for path in process.open_files() if "atrous-" in path.path]
            print(f"open temporary files: {len(files)}, threads: {process.num_threads()}")
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
