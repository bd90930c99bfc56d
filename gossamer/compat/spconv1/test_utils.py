"""What the tests of spconv are written with."""

from gossamer.compat.spconv.test_utils import TestCase as TestCase
from gossamer.compat.spconv.test_utils import generate_sparse_data as generate_sparse_data
from gossamer.compat.spconv.test_utils import params_grid as params_grid
