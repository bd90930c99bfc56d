"""The laws of coordinates, rulebooks, pooling, points and rows at full size.

Rulebooks are held against those of the CPU's backend, which merges where a GPU looks up; the rest
against plain PyTorch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from gossamer.bench.scenes import Scene
from gossamer.coords import Coords
from gossamer.ops import keys, points, pool, rows
from gossamer.ops.dispatch import use_backend
from gossamer.ops.plans import DATAFLOWS
from gossamer.ops.rulebooks import line_group
from gossamer.rulebook.table import Table
from on_gpu.clock import Clock
from on_gpu.conv_laws import KINDS, rulebook_of
from on_gpu.judge import like_reference, right, same_bits
from on_gpu.tasks import Setting, Task

SAMPLES = 4
HALF = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float32: 1e-5}


def tasks(setting: Setting) -> list[Task]:
    """A law for each family, and for each kind of rulebook."""
    kinds = ("submanifold",) if setting.tiny else tuple(KINDS)
    rulebooks = [
        Task(f"rulebook {kind}{where}", partial(_rulebook, setting, kind, where))
        for kind in kinds
        for where in ("", ", sorted keys")
    ]
    families = {
        "keys": _keys,
        "reach": _reach,
        "batches": _batches,
        "pool": _pool,
        "points": _points,
        "rows": _rows,
        "nothing at all": _nothing,
    }
    return [*rulebooks, *(Task(name, partial(law, setting)) for name, law in families.items())]


def batched(scene: Scene, samples: int) -> Tensor:
    """[N, 4]: the rows of a scene dealt out among samples, in key order."""
    coords = scene.coords.clone()
    dice = torch.Generator(coords.device).manual_seed(0)
    coords[:, 0] = torch.randint(samples, (len(coords),), generator=dice, device=coords.device)
    return coords


@contextmanager
def without_bitmaps(wanted: bool) -> Iterator[None]:
    """A block in which coordinates are found among sorted keys only, if that is `wanted`."""
    from gossamer.ops.keys.gpu import reach
    from gossamer.ops.rulebooks.gpu import match

    before = match.MOST_CELLS
    if wanted:
        match.MOST_CELLS = reach.MOST_CELLS = 0
    try:
        yield
    finally:
        match.MOST_CELLS = reach.MOST_CELLS = before


def _rulebook(setting: Setting, kind: str, where: str, clock: Clock) -> dict:
    with setting.on_kernels(), without_bitmaps(bool(where)):
        scene = setting.scenes["street"]
        ours = rulebook_of(scene, kind)
        found = same_bits(lambda: rulebook_of(scene, kind).triples(), kind)
        back = _ordered(ours.T.triples())
        assert isinstance(ours.layout, Table)
        for flow in DATAFLOWS:
            _check_arrangement(ours.layout, flow)
    with use_backend("numba"):
        theirs = rulebook_of(setting.host_scenes["street"], kind)
        right((ours.inputs, ours.outputs) == (theirs.inputs, theirs.outputs), "as many sites")
        wanted = theirs.triples()
    right(torch.equal(_ordered(found.cpu()), _ordered(wanted)), "the pairs of the CPU's backend")
    turned = wanted[:, [0, 2, 1]]
    right(torch.equal(back.cpu(), _ordered(turned)), "the same pairs backwards")
    return {"pairs": len(wanted), "voxels": ours.outputs}


def _ordered(triples: Tensor) -> Tensor:
    for column in (1, 2, 0):
        triples = triples[triples[:, column].argsort(stable=True)]
    return triples


def _check_arrangement(table: Table, flow: str) -> None:
    """That an arrangement is the table in another order, and that its masks say what is there."""
    sources, slot_rows, masks, places = table.arranged(flow)
    groups, each = len(slot_rows), table.lines // len(slot_rows)
    for order in range(groups):
        first = line_group(order, groups) * each
        mine, own = sources[first : first + each], slot_rows[order]
        here = own >= 0
        row = own[here].long()
        right(torch.equal(mine[:, here], table.sources[first : first + each, row]), flow)
        right(bool((mine[:, ~here] == -1).all()), f"{flow}: nothing behind the rows")
        right(torch.equal(places[order, row].long(), here.nonzero()[:, 0]), f"{flow}: places")
        have = (table.sources[first : first + each] >= 0).any(0)
        if order == groups - 1:
            have = torch.ones_like(have)
        right(int(have.sum()) == len(row), f"{flow}: a slot for each row")
        met = (mine >= 0).view(each, -1, 32).any(2)
        for line in range(each):
            bit = (masks[order, line // 32] >> (line % 32)) & 1
            right(torch.equal(bit.bool(), met[line]), f"{flow}: masks")


def _keys(setting: Setting, clock: Clock) -> dict:
    scene = setting.scenes["street"]
    coords = batched(scene, SAMPLES)
    box = [-3, 0, 0], [n + 1 for n in scene.spatial_shape]
    twice = torch.cat([coords, coords[: len(coords) // 3]])
    with setting.on_kernels():
        for given in (coords, twice, scene.coords, twice.long()):
            like_reference(keys.survey, given, what="survey")
        packed = keys.pack(twice, *box)
        like_reference(keys.pack, twice, *box, what="pack")
        like_reference(keys.unpack, packed, *box, what="unpack")
        like_reference(keys.argsort, packed, what="argsort")
        like_reference(keys.unique, packed, what="unique")
        distinct = packed.unique()
        asked = torch.cat([packed, packed + 1, packed - 1])
        like_reference(keys.find, distinct, asked, what="find")
    return {"rows": len(twice)}


def _reach(setting: Setting, clock: Clock) -> dict:
    scene = setting.scenes["street"]
    coords = batched(scene, SAMPLES)
    for kind in ("strided", "halved", "flattened")[-1 if setting.tiny else 0 :]:
        geometry = KINDS[kind]
        steps = list(geometry.stride), geometry.flat_offsets
        lower, size = [0] * 3, list(geometry.output_shape(scene.spatial_shape))
        for sorted_keys in (False, True):
            with setting.on_kernels(), without_bitmaps(sorted_keys):
                ends = lower, size, *steps, SAMPLES
                like_reference(keys.coarsen, coords, *ends, what=f"coarsen {kind}")
                coarse = keys.coarsen(coords, *ends)
                up = lower, list(scene.spatial_shape), *steps, SAMPLES
                like_reference(keys.dilate, coarse, *up, what=f"dilate {kind}")
                _check_within(coords, coarse, ends)
    return {"rows": len(coords)}


def _check_within(coords: Tensor, coarse: Tensor, ends: tuple) -> None:
    """`coarsen_within`: room for all and more, too little room, and rows that do not exist."""
    known = torch.tensor([len(coords)], device=coords.device)
    behind = torch.cat([coords, torch.full_like(coords[:7], 2**31 - 1)])
    for room in (len(coarse) + 5, max(1, len(coarse) // 2)):
        found_rows, found = keys.coarsen_within(behind, known, *ends, room)
        kept = min(room, len(coarse))
        right(int(found) == len(coarse), "as many sites as there are")
        right(torch.equal(found_rows[:kept], coarse[:kept]), "the first sites")
        right(not found_rows[kept:].any(), "zeros behind them")


def _batches(setting: Setting, clock: Clock) -> dict:
    """Samples are worlds of their own, in any order, with negative coordinates, without a grid."""
    scene = setting.scenes["street"]
    coords = batched(scene, SAMPLES)
    coords[:, 1:] -= 50
    geometry = KINDS["submanifold"]
    with setting.on_kernels():
        sites, order = Coords.of(coords)
        right(order is not None, "rows that were not sorted")
        total = sites.rulebook(geometry).pair_count()
        alone = 0
        for sample in range(SAMPLES):
            mine = coords[coords[:, 0] == sample].clone()
            mine[:, 0] = 0
            alone += Coords.of(mine)[0].rulebook(geometry).pair_count()
    right(alone == total, "the pairs of all samples")
    return {"pairs": total}


def _pool(setting: Setting, clock: Clock) -> dict:
    with setting.on_kernels():
        for kind in ("strided", "submanifold", "halved")[-1 if setting.tiny else 0 :]:
            rulebook = rulebook_of(setting.scenes["street"], kind)
            for dtype, tolerance in _dtypes(setting):
                x = _drawn(setting, rulebook.inputs, 24, dtype=dtype)
                x[::7, 3] = torch.nan if dtype == torch.float32 else 0
                right_rows = rulebook.outputs
                for flow in DATAFLOWS:
                    lists = rulebook.lists(flow)
                    winners = partial(pool.argmax, pairs=lists, rows=right_rows)
                    like_reference(winners, x, what=f"argmax {kind} {flow}")
                    sums = partial(pool.pool_sum, pairs=lists, transposed=[], rows=right_rows)
                    y = x.nan_to_num()
                    like_reference(sums, y, tolerance=tolerance, what=f"sum {kind} {flow}")
    return {}


def _points(setting: Setting, clock: Clock) -> dict:
    count = setting.count(200_000)
    voxels = count // 2
    corner = torch.Generator(setting.device).manual_seed(1)
    rows_of = torch.randint(-1, voxels, (count, 8), generator=corner, device=setting.device)
    weights = _drawn(setting, count, 8).abs()
    cloud = _drawn(setting, count, 4) * 10
    with setting.on_kernels():
        for dtype, tolerance in _dtypes(setting):
            x, g = (_drawn(setting, n, 20, dtype=dtype) for n in (voxels, count))
            w = weights.to(dtype)
            like_reference(points.interpolate, x, w, rows_of, tolerance=tolerance, what="at points")
            like_reference(points.spread, g, w, rows_of, voxels, tolerance=tolerance, what="spread")
            like_reference(
                points.interpolation_dots, x, g, rows_of, tolerance=tolerance, what="dots"
            )
        grid = [-20.0] * 3, [0.5] * 3, [80] * 3
        for most in (voxels // 3, count):
            # Not widened: which cell a point is in depends on the dtype.
            found = same_bits(lambda m=most: points.first_come(cloud, *grid, m), "first come")
            with use_backend("reference"):
                wanted = points.first_come(cloud, *grid, most)
            for a, b in zip(found, wanted, strict=True):
                right(torch.equal(a, b), "voxels as they come first")
    return {"points": count}


def _rows(setting: Setting, clock: Clock) -> dict:
    count = setting.count(100_000)
    cells = 4 * count
    dice = torch.Generator(setting.device).manual_seed(2)
    order = torch.randperm(count, generator=dice, device=setting.device)
    cell = torch.randperm(2 * cells, generator=dice, device=setting.device)[:count]
    with setting.on_kernels():
        for dtype, tolerance in _dtypes(setting):
            x, other = (_drawn(setting, count, 48, dtype=dtype) for _ in range(2))
            scale, shift, *by = (_drawn(setting, 48, dtype=dtype) for _ in range(5))
            mean, grad = x.double().mean(0).to(dtype), other
            given = {"tolerance": tolerance}
            like_reference(rows.permute, x, order, what="permute", **given)
            like_reference(rows.onto_grid, x, cell, 2, cells, what="onto a grid", **given)
            grid = rows.onto_grid(x, cell, 2, cells)
            like_reference(rows.from_grid, grid, cell, what="from a grid", **given)
            like_reference(rows.moments, x, what="moments", **given)
            like_reference(rows.column_dots, x, other, what="dots of columns", **given)
            for added in (None, other):
                like_reference(rows.affine, x, scale, shift, added, 0.0, what="affine", **given)
            _check_norm((grad, x, mean, scale, shift), by, given)
    return {"rows": count}


def _check_norm(given: tuple, by: list[Tensor], options: dict) -> None:
    if given[1].dtype != torch.float32:
        # In a half type a number near zero may fall on the other side of a ReLU than in float64.
        return
    like_reference(rows.gated_dots, *given, None, 1.0, what="gated dots", **options)
    like_reference(rows.normalise_grad, *given, by, 1.0, what="gradient of a norm", **options)


def _nothing(setting: Setting, clock: Clock) -> dict:
    """No site, and one."""
    from gossamer import SparseTensor, nn

    with setting.on_kernels():
        layers = [nn.SubMConv3d(4, 8, 3), nn.SparseConv3d(8, 8, 3, 2, 1), nn.SparseMaxPool3d(2)]
        network = nn.SparseSequential(*layers).to(setting.device)
        for count in (0, 1):
            coords = torch.full((count, 4), 9, dtype=torch.int32, device=setting.device)
            coords[:, 0] = 0
            x = torch.ones(count, 4, device=setting.device, requires_grad=True)
            y = network(SparseTensor(x, coords, (32, 32, 32), 1))
            y.features.sum().backward()
            right(len(y) >= count, "an output where there is an input")
    return {}


def _dtypes(setting: Setting) -> list[tuple[torch.dtype, float]]:
    if setting.tiny:
        return [(torch.float32, HALF[torch.float32])]
    return list(HALF.items())


def _drawn(setting: Setting, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    dice = torch.Generator(setting.device).manual_seed(len(shape) + shape[0])
    numbers = torch.randn(*shape, generator=dice, device=setting.device)
    return numbers.to(dtype)
