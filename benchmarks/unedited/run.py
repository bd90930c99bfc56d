"""One unedited program, on the library that it was written for and on gossamer, taking turns.

    python benchmarks/unedited/run.py minkowski FILE --real FOLDER --scan SCAN

FOLDER holds a build of the library that this interpreter can import: TorchSparse 1.4 or
MinkowskiEngine for the CPU. SCAN is a point cloud; its voxels of 0.05 x 0.05 x 0.1 m are what is
computed on. Processes take turns, one thread each. FILE is the JSON file to write.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import torch

import gossamer
from gossamer.bench.scenes import scene_of
from gossamer.doctor import processor

HERE = Path(__file__).resolve().parent
LIBRARIES = {
    "minkowski": ["--as", "MinkowskiEngine"],
    "torchsparse14": ["--as", "torchsparse", "--api", "1.4"],
}
TURNS = 3


def told(command: list[str], path: str) -> dict[str, float]:
    """The times that a program prints, with `path` before what Python looks through."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("file", type=Path)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--scan", type=Path)
    options = parser.parse_args()
    program = str(HERE / f"{options.library}.py")
    scene = scene_of(options.scan, (0.05, 0.05, 0.1))
    with tempfile.TemporaryDirectory() as folder:
        voxels = str(Path(folder) / "voxels.npy")
        np.save(voxels, scene.coords.numpy())
        ours = [sys.executable, "-m", "gossamer", "run", *LIBRARIES[options.library]]
        turns: dict[str, list] = {"real": [], "gossamer": []}
        for _ in range(TURNS):
            root = str(HERE.parents[1])
            turns["real"].append(told([sys.executable, program, voxels], str(options.real)))
            turns["gossamer"].append(told([*ours, program, voxels], root))
    rows = []
    for case in turns["real"][0]:
        real, mine = (median(turn[case] for turn in turns[who]) for who in turns)
        times = {"real_ms": round(real, 3), "gossamer_ms": round(mine, 3)}
        rows.append({"case": case, **times, "times_as_fast": round(real / mine, 2)})
        print(rows[-1], flush=True)
    machine = {
        "cpu": processor().model,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gossamer": gossamer.__version__,
        "scan": options.scan.name if options.scan else "simulated",
        "voxels": len(scene),
        "turns": TURNS,
        "threads": 1,
    }
    options.file.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
