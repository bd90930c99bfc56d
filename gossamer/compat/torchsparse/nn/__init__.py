"""Layers."""

from gossamer.compat.torchsparse.nn import functional as functional
from gossamer.compat.torchsparse.nn import utils as utils
from gossamer.compat.torchsparse.nn.modules import *  # noqa: F403
