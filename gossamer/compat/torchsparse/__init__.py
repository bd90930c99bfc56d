"""The API of TorchSparse 2.1."""

from gossamer.compat.torchsparse import backend as backend
from gossamer.compat.torchsparse import backends as backends
from gossamer.compat.torchsparse import nn as nn
from gossamer.compat.torchsparse import utils as utils
from gossamer.compat.torchsparse.operators import cat as cat
from gossamer.compat.torchsparse.operators import generative_add as generative_add
from gossamer.compat.torchsparse.tensor import PointTensor as PointTensor
from gossamer.compat.torchsparse.tensor import SparseTensor as SparseTensor
from gossamer.compat.torchsparse.utils.tune import tune as tune
from gossamer.compat.torchsparse.version import __version__ as __version__

backends.init()
