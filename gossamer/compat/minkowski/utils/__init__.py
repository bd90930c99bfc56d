"""Clouds into batches and cells, weights to begin with, and a table of a network's layers."""

from gossamer.compat.minkowski.utils.collation import SparseCollation as SparseCollation
from gossamer.compat.minkowski.utils.collation import batch_sparse_collate as batch_sparse_collate
from gossamer.compat.minkowski.utils.collation import batched_coordinates as batched_coordinates
from gossamer.compat.minkowski.utils.collation import sparse_collate as sparse_collate
from gossamer.compat.minkowski.utils.init import kaiming_normal_ as kaiming_normal_
from gossamer.compat.minkowski.utils.quantization import fnv_hash_vec as fnv_hash_vec
from gossamer.compat.minkowski.utils.quantization import ravel_hash_vec as ravel_hash_vec
from gossamer.compat.minkowski.utils.quantization import sparse_quantize as sparse_quantize
from gossamer.compat.minkowski.utils.quantization import (
    unique_coordinate_map as unique_coordinate_map,
)
from gossamer.compat.minkowski.utils.summary import summary as summary
