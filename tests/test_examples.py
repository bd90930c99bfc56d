"""The examples that are written for other libraries run unedited, and learn."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.parametrize(
    ("example", "options"),
    [
        ("torchsparse_shapes.py", ["--as", "torchsparse"]),
        ("torchsparse14_points.py", ["--as", "torchsparse", "--api", "1.4"]),
        ("minkowski_shapes.py", ["--as", "MinkowskiEngine"]),
    ],
)
def test_an_example_of_another_library_learns(example, options):
    line = [sys.executable, "-m", "gossamer", "run", *options, str(EXAMPLES / example)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    losses = [float(loss) for loss in re.findall(r"loss (\d+\.\d+)", done.stdout)]
    assert len(losses) >= 10
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
