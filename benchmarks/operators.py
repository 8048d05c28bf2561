"""Time of an exported network by operator, from ONNX Runtime's profiler.

python benchmarks/operators.py [MODEL.onnx] [--size HEIGHT WIDTH] [--threads N] [--runs N]
"""

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from atrous._quiet_imports import import_onnxruntime
from atrous.backends import bundled_model_path
from atrous.data.transforms import aligned_size


def main() -> None:
    """Print each operator's median time and the sums by operator type."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--size", nargs=2, type=int, default=(375, 500))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    rows, columns = map(aligned_size, arguments.size)
    blob = np.random.default_rng(0).uniform(-110, 145, (1, 3, rows, columns)).astype(np.float32)
    times = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = arguments.threads
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        model = str(arguments.model or bundled_model_path())
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for _ in range(arguments.runs + 1):
            session.run(None, {"image": blob})
        events = json.loads(Path(session.end_profiling()).read_text())
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["args"]["op_name"], event["name"].removesuffix("_kernel_time")].append(event["dur"] / 1000)
    kinds = defaultdict(float)
    for (kind, name), taken in times.items():
        middle = statistics.median(taken[1:])
        kinds[kind] += middle
        print(f"{middle:8.2f} ms  {kind:<20}{name}")
    print(f"\n{sum(kinds.values()):8.2f} ms  in all, {rows}x{columns}, {arguments.threads} threads")
    for kind, taken in sorted(kinds.items(), key=lambda entry: -entry[1]):
        print(f"{taken:8.2f} ms  {kind}")


if __name__ == "__main__":
    main()
