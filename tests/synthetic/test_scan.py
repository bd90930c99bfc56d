"""A simulated scan keeps the promises of its sensor, its labels and its boxes."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gossamer.synthetic import CLASSES, Scan, Sensor, simulate

EXACT = Sensor(noise=0.0, dropout=0.0)
THINGS = ["car", "truck", "cyclist", "pedestrian"]


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    return [simulate(seed, EXACT) for seed in range(6)]


def digest(scan: Scan) -> str:
    cloud, boxes = scan.cloud, scan.boxes
    tensors = [cloud.positions, cloud.features, cloud.labels, cloud.instances, boxes.centres]
    tensors += [boxes.sizes, boxes.yaws, boxes.labels]
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in tensors)).hexdigest()


def in_box_axes(scan: Scan) -> torch.Tensor:
    """[P, 3]: where each point lies in its own box, -1 to 1 on every axis, NaN without a box."""
    row = scan.cloud.instances - 1
    x, y, z = (scan.cloud.positions - scan.boxes.centres[row]).double().unbind(1)
    c, s = scan.boxes.yaws[row].cos(), scan.boxes.yaws[row].sin()
    local = torch.stack((c * x + s * y, c * y - s * x, z), 1) / (scan.boxes.sizes[row] / 2)
    return local.where(row[:, None] >= 0, torch.nan)


def ray(scan: Scan, sensor: Sensor) -> torch.Tensor:
    """[P] int64: the number of the ray that each point came from."""
    x, y, z = scan.cloud.positions.double().unbind(1)
    step = (torch.atan2(y, x) / (2 * torch.pi) + 0.5) * sensor.steps
    low, high = sensor.elevation
    beam = (torch.rad2deg(torch.atan2(z, torch.hypot(x, y))) - low) / (high - low)
    beam = beam * (sensor.beams - 1)
    for number in (beam, step):
        assert ((number - number.round()).abs() < 1e-2).all()
    assert ((beam.round() >= 0) & (beam.round() < sensor.beams)).all()
    return beam.round().long() * sensor.steps + step.round().long() % sensor.steps


def test_the_same_seed_gives_the_same_bits_whatever_the_number_of_threads():
    script = (
        "from gossamer.synthetic import simulate; from tests.synthetic.test_scan import digest;"
        "print(digest(simulate(3)))"
    )
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **threads},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == digest(simulate(3)) == digest(simulate(3, Sensor()))


def test_another_seed_gives_another_street(scans):
    assert len({digest(scan) for scan in scans}) == len(scans)
    assert len({tuple(scan.boxes.labels.tolist()) for scan in scans}) > 1


def test_a_point_lies_in_its_box(scans):
    for scan in scans:
        local = in_box_axes(scan)
        assert local[~local.isnan()].abs().max() < 1.001


def test_a_noisy_point_lies_in_its_box_grown_by_the_noise():
    noise = 0.05
    scan = simulate(1, Sensor(noise=noise))
    half = scan.boxes.sizes[scan.cloud.instances - 1] / 2
    over = (in_box_axes(scan).abs() - 1) * half
    over = over[scan.cloud.instances > 0]
    assert 0 < over.max() < 5 * noise


def test_a_box_is_no_longer_and_no_wider_than_what_is_in_it(scans):
    for name in THINGS:
        reached = torch.zeros(2)
        for scan in scans:
            mine = (scan.cloud.instances > 0) & (scan.cloud.labels == CLASSES.index(name))
            reached = torch.maximum(reached, in_box_axes(scan)[mine, :2].abs().amax(0))
        assert (reached > 0.95).all(), name


def test_a_point_has_the_class_of_its_box_and_every_box_has_points(scans):
    for scan in scans:
        cloud, boxes = scan.cloud, scan.boxes
        on = cloud.instances > 0
        assert torch.equal(cloud.labels[on], boxes.labels[cloud.instances[on] - 1])
        assert torch.equal(cloud.instances[on].unique(), torch.arange(1, len(boxes) + 1))
        things = torch.tensor([CLASSES.index(name) for name in THINGS])
        assert torch.equal(on, torch.isin(cloud.labels, things))


def test_boxes_stand_apart(scans):
    for scan in scans:
        x, y, _ = in_box_axes(scan).unbind(1)
        core = (x.abs() < 0.9) & (y.abs() < 0.9)
        points = scan.cloud.positions[core].double()
        own = scan.cloud.instances[core] - 1
        for row in range(len(scan.boxes)):
            offset = points - scan.boxes.centres[row]
            c, s = scan.boxes.yaws[row].cos(), scan.boxes.yaws[row].sin()
            u, v = c * offset[:, 0] + s * offset[:, 1], c * offset[:, 1] - s * offset[:, 0]
            half = scan.boxes.sizes[row] / 2 * 0.9
            within = (u.abs() < half[0]) & (v.abs() < half[1])
            assert (own[within] == row).all()


@pytest.mark.parametrize(
    "sensor",
    [
        Sensor(beams=16, steps=500, elevation=(-15.0, 15.0), reach=(3.0, 40.0), noise=0.2),
        Sensor(beams=7, steps=90, elevation=(-40.0, -5.0), reach=(0.0, 12.0)),
    ],
)
def test_a_point_lies_on_a_ray_of_the_sensor_within_its_reach(sensor):
    scan = simulate(2, sensor)
    distance = scan.cloud.positions.double().norm(dim=1)
    # float32 positions round a range by less than a tenth of a millimetre.
    assert distance.min() > sensor.reach[0] - 1e-4
    assert distance.max() < sensor.reach[1] + 1e-4
    rays = ray(scan, sensor)
    assert len(rays.unique()) == len(rays) > 100


def test_ranges_scatter_about_the_truth_by_the_noise_asked_for(scans):
    noise = 0.08
    sensor = Sensor(noise=noise, dropout=0.0)
    noisy = simulate(0, sensor)
    _, true_row, noisy_row = np.intersect1d(
        ray(scans[0], sensor).numpy(), ray(noisy, sensor).numpy(), return_indices=True
    )
    true = scans[0].cloud[torch.from_numpy(true_row)]
    came = noisy.cloud[torch.from_numpy(noisy_row)]
    error = came.positions.double().norm(dim=1) - true.positions.double().norm(dim=1)
    assert len(error) > 90_000
    assert abs(error.mean()) < 5 * noise / len(error) ** 0.5
    assert abs(error.std() - noise) < 5 * noise / (2 * len(error)) ** 0.5
    assert torch.equal(true.labels, came.labels)


@pytest.mark.parametrize("dropout", [0.1, 0.6, 1.0])
def test_dropout_loses_the_share_asked_for_and_moves_nothing(scans, dropout):
    whole = scans[0]
    scan = simulate(0, Sensor(noise=0.0, dropout=dropout))
    share = 1 - len(scan.cloud) / len(whole.cloud)
    assert abs(share - dropout) <= 5 * (dropout * (1 - dropout) / len(whole.cloud)) ** 0.5
    left = torch.isin(ray(whole, EXACT), ray(scan, EXACT))
    assert torch.equal(whole.cloud[left].positions, scan.cloud.positions)


def test_almost_every_scan_shows_every_class():
    missing = sum(
        int((torch.bincount(simulate(seed).cloud.labels, minlength=len(CLASSES)) < 20).sum())
        for seed in range(100, 112)
    )
    assert missing <= 2


def test_a_kerb_parts_the_road_from_the_pavement_and_the_road_slopes(scans):
    slopes = []
    for scan in scans:
        positions = scan.cloud.positions.double()
        label = scan.cloud.labels
        road, pavement = (positions[label == CLASSES.index(name)] for name in ("road", "pavement"))
        ones = torch.ones(len(road), 1, dtype=torch.double)
        plane = torch.linalg.lstsq(torch.cat((road[:, :2], ones), 1), road[:, 2]).solution
        slopes.append(plane[:2].norm())
        # Paint lies on the asphalt.
        assert (road[:, 2] - road[:, :2] @ plane[:2] - plane[2]).abs().max() < 0.004
        step = pavement[:, 2] - pavement[:, :2] @ plane[:2] - plane[2]
        assert 0.12 - 0.005 < step.median() < 0.18 + 0.005
        assert step.min() > -0.005
        above = positions[:, 2] - positions[:, :2] @ plane[:2] - plane[2]
        assert above.min() > -0.005
        assert -1.95 < plane[2] < -1.6
    assert max(slopes) > 0.02


def test_intensity_is_a_share_and_tells_paint_from_asphalt_and_stone(scans):
    for scan in scans:
        intensity = scan.cloud.feature("intensity")
        assert intensity.min() >= 0 and intensity.max() <= 1
        near = scan.cloud.positions.norm(dim=1) < 15
        road, pavement = (
            intensity[near & (scan.cloud.labels == CLASSES.index(name))]
            for name in ("road", "pavement")
        )
        assert pavement.median() > 1.3 * road.median()
        assert road.max() > 3 * road.median()


def test_a_surface_sends_back_less_from_further_away(scans):
    road = [scan.cloud[scan.cloud.labels == CLASSES.index("road")] for scan in scans]
    for cloud in road:
        distance, intensity = cloud.positions.norm(dim=1), cloud.feature("intensity")
        near, far = (intensity[(distance > a) & (distance < a + 4)] for a in (4, 14))
        assert far.median() < near.median()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"beams": 0}, "beams is 0"),
        ({"beams": 2.5}, "beams is 2.5"),
        ({"steps": 0}, "steps is 0"),
        ({"reach": (5.0, 5.0)}, "shortest < longest"),
        ({"reach": (-1.0, 5.0)}, "shortest < longest"),
        ({"reach": (0.0, float("inf"))}, "shortest < longest"),
        ({"elevation": (5.0, -5.0)}, "between -90 and 90"),
        ({"elevation": (-90.0, 0.0)}, "between -90 and 90"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"dropout": 1.1}, "share from 0 to 1"),
        ({"dropout": -0.1}, "share from 0 to 1"),
    ],
)
def test_a_sensor_that_cannot_be_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        Sensor(**wrong)


@pytest.mark.parametrize("seed", [-1, 0.5, "3"])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(ValueError, match="whole number from 0"):
        simulate(seed)


def test_a_sensor_that_sees_nothing_gives_an_empty_scan():
    scan = simulate(0, Sensor(beams=1, steps=1, elevation=(80.0, 80.0)))
    assert scan.cloud.positions.shape == (0, 3)
    assert len(scan.boxes) == 0
    assert scan.boxes.centres.shape == (0, 3)
