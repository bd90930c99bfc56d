"""What the README shows, runs."""

import re
from pathlib import Path

import torch

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_ten_lines_of_the_readme_run_and_learn():
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert names["scores"].shape == (20_000, 8)
    gradients = [parameter.grad for parameter in names["net"].parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)


def test_every_file_that_the_readme_links_to_is_there():
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", README.read_text())
    assert links
    for link in links:
        assert (README.parent / link).exists(), link
