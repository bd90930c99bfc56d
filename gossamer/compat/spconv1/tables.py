"""Joining several tensors into one, and making several of one."""

from gossamer.compat.spconv.pytorch.tables import AddTable as AddTable
from gossamer.compat.spconv.pytorch.tables import ConcatTable as ConcatTable
from gossamer.compat.spconv.pytorch.tables import JoinTable as JoinTable
