"""A plugin of pytest: mmdet3d's own tests, which ask for a GPU, run on a CPU.

`pytest -p tests.conformance.theirs` prepares the library that `CONFORMANCE_LIBRARY` names, and
lets `cuda()` and `is_available()` answer as those tests want.
"""

import os

import torch

from tests.conformance.libraries import LIBRARY, prepare

prepare(LIBRARY)

# Before CUDA is said to be there: what is imported now looks.
import mmdet3d.models  # noqa: E402, F401

# mmengine's log reads which device it is.
os.environ["CUDA_VISIBLE_DEVICES"] = "0"
torch.cuda.is_available = lambda: True
torch.cuda.empty_cache = lambda: None
torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *args, **kwargs: self
