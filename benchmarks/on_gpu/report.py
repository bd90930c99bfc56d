"""The table at the end: times, shares of the ceilings, and ratios to peers and goals."""

from collections.abc import Iterator
from typing import Any

from on_gpu.tasks import OK, Outcome

Section = dict[str, Outcome]

GOALS = {64: 13.0, 128: 30.0, 256: 100.0}
"""Microseconds that a submanifold convolution of 100,000 LiDAR voxels in fp16 can't take less than
on an H200, by its memory traffic; the goal is to need no more than SLACK times that."""
SLACK = 1.6
RULEBOOKS = {"submanifold": 60.0, "strided": 90.0}  # microseconds, at most, of 100,000 voxels
CAPTURED = {"centerpoint": 350.0, "minkunet": 500.0}  # microseconds, at most
USUAL = 100_000


def lines(results: dict[str, Any]) -> Iterator[str]:
    """The table of a run, line by line."""
    sections = {name: _by_name(found) for name, found in results["sections"].items()}
    yield from _machine(sections.get("machine", {}))
    yield from _failures(results["sections"])
    yield from _rulebooks(sections.get("rulebooks", {}))
    yield from _layers(sections)
    yield from _networks(sections)
    yield from _questions(sections.get("questions", {}))
    yield from _choices(sections.get("choices", {}))


def _by_name(outcomes: list[Outcome]) -> Section:
    return {each["name"]: each for each in outcomes if each["status"] == OK}


def _us(figures: dict | None) -> float | None:
    """Microseconds."""
    return figures["ms"] * 1e3 if figures and "ms" in figures else None


def _shown(value: float | None, digits: int = 1, unit: str = "") -> str:
    return f"{value:.{digits}f}{unit}" if value is not None else "-"


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a and b else None


def _machine(found: Section) -> Iterator[str]:
    facts = found.get("facts", {})
    versions = facts.get("versions", {})
    named = (f"{name} {versions.get(name)}" for name in ("gossamer", "torch", "triton"))
    yield f"{facts.get('device', 'an interpreter')} ({facts.get('architecture')}), " + ", ".join(
        named
    )
    yield f"copy {_shown(found.get('copy', {}).get('gb_s'), 0)} GB/s; " + "; ".join(
        f"{name} {_shown(each['tflops'])} TFLOP/s"
        for name, each in found.items()
        if "tflops" in each
    )


def _failures(sections: dict[str, list[Outcome]]) -> Iterator[str]:
    for name, outcomes in sections.items():
        count: dict[str, int] = {}
        for each in outcomes:
            count[each["status"]] = count.get(each["status"], 0) + 1
        yield f"{name}: " + ", ".join(f"{n} {status}" for status, n in count.items())
        for each in outcomes:
            if each["status"] not in (OK, "left out"):
                yield f"  {each['status']}: {each['name']}: {each.get('message', '')[:300]}"


def _rulebooks(found: Section) -> Iterator[str]:
    if not found:
        return
    yield "rulebooks, us: by events; replayed; a call | B a voxel, launches, waits | goal"
    for name, each in found.items():
        goal = RULEBOOKS.get(name.split()[-2])
        parts = (_us(each), _us(each.get("replayed")), _us(each.get("a_call")))
        counts = (each["bytes_a_voxel"], each.get("launches"), each.get("synchronisations"))
        wanted = goal * each["voxels"] / USUAL if goal and "training" not in name else None
        yield (
            f"  {name:34}" + " ".join(f"{_shown(p):>8}" for p in parts) + f" | {counts[0]:.0f}, "
            f"{counts[1]}, {counts[2]} | {_shown(_ratio(parts[0], wanted), 2, ' x goal')}"
        )


def _layers(sections: dict[str, Section]) -> Iterator[str]:
    found, peers = sections.get("layers", {}), sections.get("peers", {})
    if not found:
        return
    ceilings = sections.get("machine", {})
    yield (
        "layers, us: forward, step; forward in natural, sorted, planes order (* is the plan's) | "
        "share of the ceiling | x goal | peers: forward, step, cold step, x ours"
    )
    for name, each in found.items():
        forward, step = _us(each["forward"]), _us(each["step"])
        flows = [
            f"{_shown(_us(flow['forward']))}{'*' * (order == each['plan']['dataflow'])}"
            for order, flow in each["flows"].items()
        ]
        share = _ratio(_least(each, name, ceilings), forward)
        beside = [_beside(peer, each, peers.get(f"{peer}: {name}")) for peer in _peers(peers)]
        yield (
            f"  {name:34}{_shown(forward):>8} {_shown(step):>8}; {' '.join(flows)} | "
            f"{_shown(share and 100 * share, 0, ' %')} | {_goal(name, each, forward)} | "
            + " ".join(text for text in beside if text)
        )


def _least(each: Outcome, name: str, ceilings: Section) -> float | None:
    """Microseconds that the device's bandwidth or its matrix rate need, whichever is more."""
    rate = ceilings.get(f"matmul {name.split()[-1]}", {}).get("tflops")
    copied = ceilings.get("copy", {}).get("gb_s")
    if not rate or not copied:
        return None
    return max(each["flops"] / rate / 1e6, each["least_bytes"] / copied / 1e3)


def _goal(name: str, each: Outcome, forward: float | None) -> str:
    scene, kind, width, precision = name.split()
    least = GOALS.get(int(width.removeprefix("C=")))
    if (
        not least
        or forward is None
        or (kind, precision, scene) != ("submanifold", "fp16", "street")
    ):
        return "-"
    return f"{forward / (SLACK * least * each['voxels'] / USUAL):.2f}"


def _peers(found: Section) -> list[str]:
    return sorted({name.split(":")[0] for name in found})


def _beside(peer: str, ours: Outcome, theirs: Outcome | None) -> str:
    if not theirs or "forward" not in theirs:
        return ""
    # A strided layer's rulebook is made at every call there, so it is compared with ours made anew.
    strided = "strided" in theirs["name"]
    names = ("cold_forward" if strided else "forward", "cold_step" if strided else "step")
    pairs = [(theirs[n], ours[n]) for n in (*names, "cold_step")]
    shown = " ".join(_shown(_ratio(_us(a), _us(b)), 2) for a, b in pairs)
    return f"{peer} {shown}"


def _networks(sections: dict[str, Section]) -> Iterator[str]:
    found, peers = sections.get("networks", {}), sections.get("peers", {})
    if not found:
        return
    yield "networks, us: latency, busy | launches, waits | MB | x goal | peers: x ours"
    for name, each in found.items():
        kind, precision, way = name.split()
        goal = CAPTURED.get(kind) if (precision, way) == ("fp16", "captured") else None
        busy, peak = each.get("busy_ms"), each.get("peak_bytes")
        like = "training" if way == "training" else "eager"
        beside = {p: peers.get(f"{p}: {kind} {precision} {like}") for p in _peers(peers)}
        ratios = [f"{p} {_shown(_ratio(_us(t), _us(each)), 2)}" for p, t in beside.items() if t]
        yield (
            f"  {name:34}{_shown(_us(each)):>9} {_shown(busy and busy * 1e3):>9} | "
            f"{each.get('launches')}+{each.get('graph_launches')}, {each.get('synchronisations')} "
            f"| {_shown(peak and peak / 1e6, 0)} | {_shown(_ratio(_us(each), goal), 2)} | "
            + " ".join(ratios)
        )


def _questions(found: Section) -> Iterator[str]:
    for name, each in found.items():
        answers = {key: value for key, value in each.items() if isinstance(value, dict)}
        for key, value in answers.items():
            inner = value.items() if "ms" not in value else [("", value)]
            shown = ", ".join(
                f"{way} {_shown(_us(figures))} us"
                + (f" err {figures['relative_error']:.1e}" if "relative_error" in figures else "")
                for way, figures in inner
                if isinstance(figures, dict)
            )
            yield f"{name}: {key}: {shown}"


def _choices(found: Section) -> Iterator[str]:
    if found:
        yield "the table's choice, and the best of its neighbours, us"
    for name, each in found.items():
        timed = [row for row in each["choices"] if "ms" in row]
        if not timed:
            continue
        chosen, best = each["choices"][0], min(timed, key=lambda row: row["ms"])
        yield f"  {name:44}{_shown(_us(chosen)):>8} {_shown(_us(best)):>8} {_tile(best)}"


def _tile(row: dict) -> str:
    size = f"{row['rows']}x{row['columns']}/{row['channels']}"
    return f"{size} w{row['warps']} s{row['stages']} L{row['limit']} p{row['parts']}"
