"""A point cloud as named columns, which is what PLY, PCD, LAS and npz files hold.

The columns x, y, z are positions; `label`, `class` or `classification` are labels, `instance` and
`batch` what they say (CloudCompare's prefix `scalar_` and upper case do not matter); every other
column is a feature.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np
import torch

from gossamer.point_cloud import PointCloud

# the first name is the one we write
ROLES = {
    "labels": ("label", "class", "classification"),
    "instances": ("instance",),
    "batch": ("batch",),
}
AXES = ("x", "y", "z")
INT32 = np.iinfo(np.int32)


def roles(names: Iterable[str]) -> dict[str, str]:
    """The column of each role that occurs, for instance {"labels": "scalar_Classification"}."""
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(name.lower().removeprefix("scalar_"), name)
    found = {role: [plain[n] for n in known if n in plain] for role, known in ROLES.items()}
    return {role: columns[0] for role, columns in found.items() if columns}


def from_columns(columns: Mapping[str, np.ndarray]) -> PointCloud:
    """The cloud these columns hold: float64 positions where float32 would round, else float32.

    Args:
        columns: [P] arrays of numbers by name; an array [P, n] is n columns name_0, name_1, ...

    Raises:
        ValueError: x, y or z is missing, or labels, instances or batch are no whole numbers.
    """
    columns = _split(columns)
    if missing := [axis for axis in AXES if axis not in columns]:
        raise ValueError(f"no {', '.join(missing)} among its columns {', '.join(columns) or '-'}")
    xyz = [columns.pop(axis) for axis in AXES]
    narrow = np.result_type(np.float32, *xyz) == np.float32
    positions = np.stack(xyz, 1).astype(np.float32 if narrow else np.float64)
    special = {role: _whole(name, columns.pop(name)) for role, name in roles(columns).items()}
    features = np.empty((len(positions), len(columns)), np.float32)
    for index, values in enumerate(columns.values()):
        features[:, index] = values
    return PointCloud(
        torch.from_numpy(positions),
        torch.from_numpy(features),
        tuple(columns),
        **{role: torch.from_numpy(values) for role, values in special.items()},
    )


def to_columns(cloud: PointCloud, allowed: str) -> dict[str, np.ndarray]:
    """The columns of `cloud`: positions as they are, features float32, all else int32.

    Args:
        cloud: what to write.
        allowed: regular expression of the names that the file format can hold.

    Raises:
        ValueError: a feature has a name that the format cannot hold, or that would be read back as
            something else; or a label, instance or batch does not fit 32 bits.
    """
    arrays = to_numpy(cloud)
    positions, features = arrays.pop("positions"), arrays.pop("features")
    columns = dict(zip(AXES, positions.T, strict=True))
    columns |= {name: values for name, values in zip(cloud.names, features.T, strict=True)}
    for role, values in arrays.items():
        if len(values) and not INT32.min <= values.min() <= values.max() <= INT32.max:
            raise ValueError(
                f"{role} spans {values.min()} to {values.max()}; this format holds 32 bits; "
                "renumber, or write .npz"
            )
        columns[ROLES[role][0]] = values.astype(np.int32)
    taken = {*AXES, *(ROLES[role][0] for role in arrays), *roles(columns).values()}
    for name in cloud.names:
        if name in taken or not re.fullmatch(allowed, name):
            raise ValueError(
                f"a feature is called {name!r}, which this format cannot hold, or would read back "
                "as something else; rename it, or write .npz"
            )
    return columns


def to_numpy(cloud: PointCloud) -> dict[str, np.ndarray]:
    """Positions, features, and whichever of labels, instances, batch there are, as arrays."""
    cloud = cloud.to("cpu")
    wide = cloud.positions.dtype == torch.float64
    arrays = {
        "positions": cloud.positions if wide else cloud.positions.float(),
        "features": cloud.features.float(),
        **{role: getattr(cloud, role) for role in ROLES if getattr(cloud, role) is not None},
    }
    return {name: tensor.detach().numpy() for name, tensor in arrays.items()}


def whole_numbers(values: np.ndarray, low: int, high: int) -> bool:
    """Whether every value is a whole number from `low` to `high`; NaN is none."""
    return bool(((values >= low) & (values <= high) & (values == np.round(values))).all())


def _split(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    single: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        if values.ndim == 2:
            single |= {f"{name}_{index}": column for index, column in enumerate(values.T)}
        else:
            single[name] = values
    return single


def _whole(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f" and not whole_numbers(values, -(2**53), 2**53):
        raise ValueError(f"its column {name} holds fractions or NaN; wanted whole numbers")
    return values.astype(np.int64)
