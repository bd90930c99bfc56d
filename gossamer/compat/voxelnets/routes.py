"""Which kernel map a layer goes through: one that is there already, or one built now."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gossamer.compat.voxelnets import maps
from gossamer.compat.voxelnets.kernel import Axes, Kernel
from gossamer.compat.voxelnets.maps import KernelMap
from gossamer.compat.voxelnets.places import Place, Range, alike, place_of


class Cache(Protocol):
    """What tensors share."""

    cmaps: dict
    kmaps: dict
    hashmaps: dict


@dataclass(frozen=True)
class Origin:
    """A tensor that a layer reads, without its features.

    Args:
        place: its rows.
        stride: 3 ints.
        spatial_range: 4 ints, or None.
        cache: what it shares.
        negative: whether outputs below 0 are kept.
    """

    place: Place
    stride: Axes
    spatial_range: Range | None
    cache: Cache
    negative: bool

    @property
    def state(self) -> tuple:
        """What a kernel map that was built for it must have been built for."""
        return self.place.sites, self.spatial_range, self.negative


def forward(x: Origin, kernel: Kernel) -> KernelMap:
    """The map of a layer that keeps the sites, or leads to coarser ones."""
    if kernel.keeps_sites:
        build = partial(maps.around, x.place, kernel, x.spatial_range)
        return _cached(x, kernel, "around", build)
    build = partial(maps.downwards, x.place, kernel, x.spatial_range, x.negative)
    seen = x.cache.hashmaps.get(kernel.coarse_stride(x.stride), ())
    return _cached(x, kernel, "downwards", lambda: _shared(build(), seen))


def generative(x: Origin, kernel: Kernel) -> KernelMap:
    """The map of a layer that makes finer sites."""
    # A stride above the tensor's own leads past the grid of the first tensor.
    both = zip(x.stride, kernel.stride, strict=True)
    _check_divisible(x.stride, tuple(b if a >= b else 1 for a, b in both))
    build = partial(maps.upwards, x.place, kernel, x.spatial_range, x.negative)
    seen = x.cache.hashmaps.get(kernel.fine_stride(x.stride), ())
    return _cached(x, kernel, "upwards", lambda: _shared(build(), seen))


def transposed(x: Origin, kernel: Kernel) -> KernelMap:
    """The map of a layer that leads back to the finer sites that are known.

    That of the layer that led from there to the input's own sites read backwards, if it had the
    same kernel; else one onto the sites that some layer came from, or that the cache has.

    Raises:
        ValueError: no sites are known at that stride, or there is no such stride.
    """
    if kernel.keeps_sites:
        return maps.turned(forward(x, kernel))
    _check_divisible(x.stride, kernel.stride)
    stride = kernel.fine_stride(x.stride)
    led_here = _led_here(x, stride)
    wanted = _key(x, kernel, "")[1:4]
    same_window = [(key, kmap) for key, kmap in led_here if key[1:4] == wanted]
    if same_window:
        # A layer and the one that undoes it may be written with different paddings.
        ranked = sorted(same_window, key=lambda entry: entry[0][4] == kernel.padding)
        return _fresh(maps.turned(ranked[-1][1]))
    if led_here:
        _, last = led_here[-1]
        fine, spatial_range = last.source, last.ranges[0]
    else:
        fine, spatial_range = _finer(x, stride)
    ranges = x.spatial_range, spatial_range
    build = partial(maps.backwards, x.place, fine, kernel, ranges)
    return _cached(x, kernel, "backwards", build, (fine.sites, spatial_range))


def keep(x: Origin, kmap: KernelMap, stride: Axes, *, anew: bool = False) -> None:
    """Make the rows on both sides of a map known to those who share the cache.

    Args:
        stride: of the output.
        anew: whether the output's rows take the place of those known at its stride.
    """
    ends = ((x.stride, kmap.source, x.spatial_range), (stride, kmap.target, kmap.ranges[1]))
    for at, place, spatial_range in ends:
        if place not in (seen := x.cache.hashmaps.setdefault(at, [])):
            seen.append(place)
        if at not in x.cache.cmaps:
            x.cache.cmaps[at] = (place.indices, spatial_range)
    if anew:
        x.cache.cmaps[stride] = (kmap.target.indices, kmap.ranges[1])


def _cached(
    x: Origin, kernel: Kernel, kind: str, build: Callable[[], KernelMap], onto: tuple = ()
) -> KernelMap:
    key, state = _key(x, kernel, kind), (*x.state, *onto)
    found = x.cache.kmaps.get(key)
    if not isinstance(found, KernelMap) or found.state != state:
        found = build()
        found.state = state
        x.cache.kmaps[key] = found
    return _fresh(found)


def _shared(kmap: KernelMap, seen: Iterable[Place]) -> KernelMap:
    """The same map onto rows that are known already, where they are its own."""
    target = alike(kmap.target, seen)
    if target is None:
        return kmap
    return KernelMap(kmap.source, target, kmap.link, kmap.ranges)


def _key(x: Origin, kernel: Kernel, kind: str) -> tuple:
    sizes = kernel.size, kernel.stride, kernel.dilation, kernel.padding
    return x.stride, *sizes, kernel.kmap_mode, kernel.downsample_mode, kind


def _fresh(kmap: KernelMap) -> KernelMap:
    """With another coords tensor for the outputs where somebody has written into the old one."""
    if kmap.target.still():
        return kmap
    target = Place(kmap.target.sites)
    return KernelMap(kmap.source, target, kmap.link, kmap.ranges)


def _led_here(x: Origin, stride: Axes) -> list[tuple[tuple, KernelMap]]:
    """The maps that lead from sites at `stride` to the input's, in the order they were built."""
    maps_there = [(k, m) for k, m in x.cache.kmaps.items() if isinstance(m, KernelMap)]
    return [
        (key, kmap)
        for key, kmap in maps_there
        if (key[0], key[-1]) == (stride, "downwards") and kmap.target.sites is x.place.sites
    ]


def _check_divisible(stride: Axes, by: Axes) -> None:
    if any(a % b for a, b in zip(stride, by, strict=True)):
        raise ValueError(
            f"the input has stride {stride}, which a transposed convolution of stride {by} does "
            "not divide; wanted the stride of the layer that it undoes; a tensor that you make has "
            "stride 1 unless you say SparseTensor(feats, coords, stride)"
        )


def _finer(x: Origin, stride: Axes) -> tuple[Place, Range | None]:
    """The sites that the cache has at a stride."""
    if stride not in x.cache.cmaps:
        raise ValueError(
            f"no sites of stride {stride} are known, which a transposed convolution of this input "
            f"(stride {x.stride}) leads back to; known are {sorted(x.cache.cmaps)}; lead down from "
            "there with the same tensor's layers first, hand the caches on to tensors that you "
            "make (new._caches = old._caches), or make new sites with generative=True"
        )
    coords, spatial_range = x.cache.cmaps[stride]
    coords = coords.to(x.place.sites.coords.rows.device)
    seen = x.cache.hashmaps.setdefault(stride, [])
    return place_of(coords, len(stride), seen), spatial_range
