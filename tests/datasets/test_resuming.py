"""An example depends on seed and place alone; loaders and streams go on where they were."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from cocosnet_hf.conditions import EdgeCondition
from cocosnet_hf.datasets import (
    DataSettings,
    EndlessBatches,
    open_source,
    open_training_data,
    split_by_node,
)
from cocosnet_hf.synthetic import SyntheticExamples
from tests.support.rows import COUNT, SCENE, equal, take

pytest.importorskip("datasets")


# Determinism and resuming


def test_an_example_depends_on_seed_epoch_and_index_alone(scenes: DataSettings):
    settings = replace(scenes, retrieve=True, elastic=0.03, color_jitter=0.3)
    data = open_training_data(settings, SCENE, seed=5)
    wanted = {(epoch, index): data[epoch, index] for epoch in range(2) for index in range(COUNT)}
    again = open_training_data(settings, SCENE, seed=5)
    for key in sorted(wanted, reverse=True):
        assert equal(again[key], wanted[key])
    assert equal(data[3], wanted[0, 3])
    assert not equal(wanted[0, 3], wanted[1, 3])
    assert not equal(open_training_data(settings, SCENE, seed=6)[0, 3], wanted[0, 3])


def test_workers_and_a_resumed_run_see_the_same_batches(scenes: DataSettings):
    data = open_training_data(scenes, SCENE, seed=1)

    def batches(first: int, count: int, workers: int) -> list[dict[str, Tensor]]:
        order = EndlessBatches(len(data), 5, seed=1, first_batch=first)
        loader = torch.utils.data.DataLoader(data, batch_sampler=order, num_workers=workers)
        return list(itertools.islice(loader, count))

    straight = batches(0, 6, workers=0)
    for first, count, workers in ((0, 6, 2), (4, 2, 0), (3, 3, 2)):
        found = batches(first, count, workers)
        assert all(map(equal, found, straight[first : first + count]))


def test_two_processes_see_what_one_with_the_doubled_batch_sees():
    one = iter(EndlessBatches(7, 6, seed=3))
    two = [iter(EndlessBatches(7, 3, seed=3, rank=rank, world_size=2)) for rank in range(2)]
    for _ in range(10):
        assert next(one) == [key for batches in two for key in next(batches)]


def test_every_epoch_is_another_permutation_of_everything():
    keys = list(itertools.chain(*itertools.islice(EndlessBatches(10, 4, seed=0), 10)))
    epochs = [[index for epoch, index in keys if epoch == e] for e in range(4)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


VARIANTS = [
    {},
    {"retrieve": True, "exemplar_buffer": 4, "hard_rank": 3},
    {"exemplar_column": "exemplar", "exemplar_condition_column": "exemplar_label"},
    {"shuffle_buffer": 1},
]


# Streams


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("stop", [1, 5, 12, 17])
def test_a_stream_resumes_exactly(
    stream_settings: DataSettings, changes: dict[str, Any], stop: int
):
    settings = replace(stream_settings, **changes)
    wanted = take(open_training_data(settings, SCENE, seed=2), 22)
    stream = open_training_data(settings, SCENE, seed=2)
    running = iter(stream)
    for _ in range(stop):
        next(running)
    state = stream.state_dict()
    resumed = open_training_data(settings, SCENE, seed=2)
    resumed.load_state_dict(state)
    assert all(map(equal, take(resumed, 22 - stop), wanted[stop:]))


def test_a_stream_is_not_moved_by_asking_for_its_state_before_it_goes_on(
    stream_settings: DataSettings,
):
    stream = open_training_data(stream_settings, SCENE)
    running = iter(stream)
    next(running)
    state = stream.state_dict()
    resumed = open_training_data(stream_settings, SCENE)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_resumes_a_stream_exactly(stream_settings: DataSettings, workers: int):
    loaders = pytest.importorskip("torchdata.stateful_dataloader")
    settings = replace(stream_settings, retrieve=True, exemplar_buffer=3, hard_rank=2)

    def loader() -> Any:
        data = open_training_data(settings, SCENE, seed=2)
        return loaders.StatefulDataLoader(data, batch_size=2, num_workers=workers)

    straight = list(itertools.islice(loader(), 10))
    first = loader()
    running = iter(first)
    for _ in range(4):
        next(running)
    state = first.state_dict()
    del running
    second = loader()
    second.load_state_dict(state)
    assert all(map(equal, itertools.islice(second, 6), straight[4:]))


def test_the_exemplars_of_a_stream_are_earlier_examples_and_the_nearest_of_them(
    stream_settings: DataSettings,
):
    settings = replace(stream_settings, retrieve=True, exemplar_buffer=5).for_validation()
    examples = take(open_training_data(settings, SCENE), COUNT)
    assert float(examples[0]["is_self_pair"]) == 1
    for number, example in enumerate(examples[1:], start=1):
        assert float(example["is_self_pair"]) == 0
        past = examples[max(0, number - 5) : number]
        assert any(torch.equal(example["exemplar"], other["image"]) for other in past)


def test_processes_share_a_stream_without_overlap(stream_settings: DataSettings):
    settings = stream_settings.for_validation()
    sums = []
    for rank, count in ((0, 4), (1, 4), (2, 4)):
        data = open_training_data(settings, SCENE, rank=rank, world_size=3)
        sums += [float(example["image"].sum()) for example in take(data, count)]
    whole = [float(e["image"].sum()) for e in take(open_training_data(settings, SCENE), COUNT)]
    assert sorted(sums) == sorted(whole)
    with pytest.raises(ValueError, match="'rank' must be in 0..1"):
        split_by_node(open_source(settings, SCENE), rank=2, world_size=2)


def test_a_stream_finds_no_exemplar_among_photos_without_structure(tmp_path: Path, cache: str):
    for name, photo in (
        ("a", Image.new("RGB", (40, 40), "white")),
        ("b", SyntheticExamples("edge", 40)[0]["image"]),
    ):
        photo.save(tmp_path / f"{name}.png")
    settings = DataSettings(
        source=str(tmp_path),
        streaming=True,
        retrieve=True,
        real_probability=1.0,
        hard_probability=0.0,
        image_size=32,
        load_size=32,
        cache_dir=cache,
    )
    examples = take(open_training_data(settings, EdgeCondition()), 2)
    assert [float(example["is_self_pair"]) for example in examples] == [1, 1]


def test_every_pass_of_a_stream_draws_anew(stream_settings: DataSettings):
    examples = take(open_training_data(stream_settings, SCENE), 2 * COUNT)
    assert not equal(examples[0], examples[COUNT])
