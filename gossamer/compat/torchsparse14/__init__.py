"""TorchSparse 1.4 over gossamer: `import torchsparse` after `install("torchsparse", api="1.4")`.

Rows of coordinates are (x, y, z, batch), and stay in voxels of the input at every stride.
"""

from gossamer.compat.torchsparse14 import backend as backend
from gossamer.compat.torchsparse14.operators import cat as cat
from gossamer.compat.torchsparse14.tensor import PointTensor as PointTensor
from gossamer.compat.torchsparse14.tensor import SparseTensor as SparseTensor
from gossamer.compat.torchsparse14.version import __version__ as __version__
