"""What a checkpoint keeps, and what it says when it does not fit."""

from dataclasses import replace

import pytest
import torch

from gossamer import CheckpointError
from gossamer.models import MinkUNet
from gossamer.training import Trained, aligned, predict
from gossamer.training.checkpoint import FILE, load_weights, read, write
from tests.training.tiny import RECIPE, data, field


@pytest.fixture
def trained():
    torch.manual_seed(0)
    return Trained.fresh(RECIPE, data())


def test_a_network_predicts_alike_after_it_was_written_and_read(trained, tmp_path):
    trained.save(tmp_path / FILE)
    again = Trained.load(tmp_path)
    assert again.recipe == trained.recipe
    assert (again.classes, again.codes, again.numbering) == (
        trained.classes,
        trained.codes,
        trained.numbering,
    )
    assert torch.equal(predict(again, field(0)), predict(trained, field(0)))
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_another_width_is_told_by_the_shapes_that_differ(trained):
    with pytest.raises(CheckpointError, match=r"of another shape: .* where the model has"):
        load_weights(MinkUNet(6, 2, 0.25), trained.model.state_dict(), "old.safetensors")


def test_another_network_is_told_by_the_names_that_are_missing_or_left_over(trained):
    with pytest.raises(CheckpointError) as told:
        load_weights(trained.model, {"conv.weight": torch.zeros(1)}, "other.safetensors")
    message = str(told.value)
    assert "other.safetensors is a checkpoint of another model than this MinkUNet" in message
    assert "missing: stem.0.weight" in message
    assert "1 unknown to the model: conv.weight" in message


def test_after_an_error_the_model_is_as_it_was(trained):
    before = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    others = {**before, "stem.0.weight": torch.zeros(1), "head.bias": before["head.bias"] + 1}
    with pytest.raises(CheckpointError):
        load_weights(trained.model, others, "damaged")
    after = trained.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_file_of_another_network_is_refused(trained, tmp_path):
    path = tmp_path / FILE
    trained.save(path)
    tensors, about = read(path)
    write(path, tensors, {**about, "recipe": {**about["recipe"], "width": 0.25}})
    with pytest.raises(CheckpointError, match="checkpoint of another model"):
        Trained.load(path)


@pytest.mark.parametrize("damage", ["truncated", "text", "without settings"])
def test_a_file_that_is_no_checkpoint_of_ours_is_refused(damage, trained, tmp_path):
    path = tmp_path / FILE
    trained.save(path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "text":
        path.write_text("not a checkpoint")
    else:
        write(path, read(path)[0], {"classes": ["a", "b"]})
    with pytest.raises(CheckpointError, match=FILE):
        Trained.load(path)


def test_a_file_of_another_program_is_refused(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"weight": torch.zeros(3)}, str(tmp_path / "theirs.safetensors"))
    with pytest.raises(CheckpointError, match="no sound checkpoint of gossamer"):
        Trained.load(tmp_path / "theirs.safetensors")


def test_no_checkpoint_is_told_with_the_way_to_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="gossamer train --out DIR makes one"):
        Trained.load(tmp_path)


def test_classes_are_matched_by_their_numbers(trained):
    # "box" alone, and the other way round: 50 is the network's class 1.
    others = replace(data(), classes=("box", "sea"), codes=(50, 99))
    labels = aligned(others, trained)[0].labels
    original = others.validation[0].labels
    assert torch.equal(labels, torch.where(original == 0, 1, -1))


@pytest.mark.parametrize("change", [{"codes": (1, 2)}, {"numbering": "ASPRS"}])
def test_data_without_a_class_in_common_is_refused(change, trained):
    with pytest.raises(CheckpointError, match="wanted some classes in common"):
        aligned(replace(data(), **change), trained)
