"""spconv 2.x over gossamer: the module that `import spconv` gives after `install("spconv")`.

Submodules have upstream's names, so `spconv.pytorch.conv.SparseConvolution` is
`gossamer.compat.spconv.pytorch.conv.SparseConvolution`.
"""

from gossamer.compat.spconv import constants as constants
from gossamer.compat.spconv import core as core
from gossamer.compat.spconv.core import AlgoHint as AlgoHint
from gossamer.compat.spconv.core import ConvAlgo as ConvAlgo

__version__ = "2.3.8"  # programs compare it as text, and read numbers from its parts
SPCONV_VERSION_NUMBERS = [2, 3, 8]
