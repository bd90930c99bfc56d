"""spconv 1.2 over gossamer: what `import spconv` gives after `install("spconv", api="1.2")`.

Submodules have upstream's names, and `torch.ops.spconv` its ops.
"""

from gossamer.compat.layers.dense import RemoveGrid as RemoveGrid
from gossamer.compat.layers.dense import ToDense as ToDense
from gossamer.compat.older.tensor import SparseConvTensor as SparseConvTensor
from gossamer.compat.rows.scatter import scatter_nd as scatter_nd
from gossamer.compat.spconv1 import functional as functional
from gossamer.compat.spconv1 import ops as ops
from gossamer.compat.spconv1 import utils as utils
from gossamer.compat.spconv1.conv import SparseConv2d as SparseConv2d
from gossamer.compat.spconv1.conv import SparseConv3d as SparseConv3d
from gossamer.compat.spconv1.conv import SparseConv4d as SparseConv4d
from gossamer.compat.spconv1.conv import SparseConvolution as SparseConvolution
from gossamer.compat.spconv1.conv import SparseConvTranspose2d as SparseConvTranspose2d
from gossamer.compat.spconv1.conv import SparseConvTranspose3d as SparseConvTranspose3d
from gossamer.compat.spconv1.conv import SparseInverseConv2d as SparseInverseConv2d
from gossamer.compat.spconv1.conv import SparseInverseConv3d as SparseInverseConv3d
from gossamer.compat.spconv1.conv import SubMConv2d as SubMConv2d
from gossamer.compat.spconv1.conv import SubMConv3d as SubMConv3d
from gossamer.compat.spconv1.conv import SubMConv4d as SubMConv4d
from gossamer.compat.spconv1.identity import Identity as Identity
from gossamer.compat.spconv1.modules import SparseModule as SparseModule
from gossamer.compat.spconv1.modules import SparseSequential as SparseSequential
from gossamer.compat.spconv1.ops import ConvAlgo as ConvAlgo
from gossamer.compat.spconv1.pool import SparseMaxPool2d as SparseMaxPool2d
from gossamer.compat.spconv1.pool import SparseMaxPool3d as SparseMaxPool3d
from gossamer.compat.spconv1.tables import AddTable as AddTable
from gossamer.compat.spconv1.tables import ConcatTable as ConcatTable
from gossamer.compat.spconv1.tables import JoinTable as JoinTable

__version__ = "1.2.1"
