"""The exemplar index: what is near, what is excluded, what is kept on disk."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save

from cocosnet_hf import retrieval
from cocosnet_hf.conditions import EdgeCondition, MaskCondition, PoseCondition
from cocosnet_hf.retrieval import (
    ExemplarIndex,
    cache_key,
    gradient_descriptor,
    layout_descriptor,
    pose_descriptor,
)
from cocosnet_hf.synthetic import SyntheticExamples

MASK = MaskCondition.from_names(["ground", "left", "right"])


def box_mask(x: int, y: int = 20, label: int = 1, side: int = 64) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[y : y + 16, x : x + 16] = label
    return mask


def random_index(count: int = 40, size: int = 6) -> ExemplarIndex:
    vectors = np.random.default_rng(0).normal(size=(count, size))
    return ExemplarIndex(
        np.stack([retrieval.normalized(vector) for vector in vectors]),
        [f"picture {number}" for number in range(count)],
        describe=np.asarray,
    )


def test_the_nearest_mask_is_the_one_with_the_most_overlap():
    index = ExemplarIndex.build([box_mask(x) for x in (0, 10, 20, 40)], MASK, list("abcd"))
    found = index.nearest(box_mask(12), k=3)
    assert [match.name for match in found] == ["b", "c", "a"]
    assert [match.index for match in found] == [1, 2, 0]
    assert found[0].score > found[1].score > found[2].score


def test_a_mask_of_the_right_class_is_nearer_than_the_same_shape_in_another_class():
    index = ExemplarIndex.build([box_mask(12, label=2), box_mask(16, label=1)], MASK)
    assert index.nearest(box_mask(12, label=1))[0].index == 1


def test_a_small_part_counts_for_more_than_its_area():
    face, moved_part = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    face[8:12, 8:12] = moved_part[50:54, 50:54] = 1
    assert (face != moved_part).mean() < 0.01
    overlap = layout_descriptor(face, MASK) @ layout_descriptor(moved_part, MASK)
    assert overlap < 0.95


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_layout_overlap_is_symmetric_at_most_one_and_one_for_equal_masks(seed: int):
    rng = np.random.default_rng(seed)
    first, second = (np.kron(rng.integers(0, 3, (8, 8)), np.ones((4, 4), int)) for _ in range(2))
    index = ExemplarIndex.build([first, second], MASK)
    forward, backward = index.nearest(first, k=2), index.nearest(second, k=2)
    assert forward[0].score == pytest.approx(1, abs=1e-5)
    by_place = {match.index: match.score for match in forward}
    assert by_place[1] == pytest.approx({m.index: m.score for m in backward}[0], abs=1e-5)
    assert 0 <= by_place[1] <= 1 + 1e-5


def test_masks_without_a_common_class_do_not_overlap():
    left, right = np.full((16, 16), 1), np.full((16, 16), 2)
    assert layout_descriptor(left, MASK) @ layout_descriptor(right, MASK) == 0


def test_the_photo_descriptor_ignores_color_and_sees_structure():
    examples = SyntheticExamples("edge", 64)
    photos = [examples[number]["image"] for number in range(8)]
    index = ExemplarIndex.build(photos, EdgeCondition())
    repainted = Image.blend(photos[5], Image.new("RGB", (64, 64), "#3cc83c"), 0.4)
    assert index.nearest(repainted)[0].index == 5
    assert gradient_descriptor(photos[0]).shape == (512,)


def test_the_nearest_pose_has_its_limbs_in_the_same_places():
    examples = SyntheticExamples("pose")
    poses = [examples.draw(layout, look=0)[1] for layout in range(12)]
    index = ExemplarIndex.build(poses, PoseCondition())
    moved = poses[7].joints + (2, -2, 0)
    found = index.nearest({"keypoints": moved, "size": poses[7].size}, k=2)
    assert found[0].index == 7
    assert found[0].score > 0.9 > found[1].score


def test_joints_below_the_minimal_score_do_not_count():
    pose = SyntheticExamples("pose")[0]["condition"]
    assert pose_descriptor(pose, min_score=0.5).any()
    low = type(pose)(pose.joints * (1, 1, 0.4), pose.size)
    assert not pose_descriptor(low, min_score=0.5).any()


def test_vectors_of_your_own_can_be_searched():
    def mean_color(photo: Image.Image) -> np.ndarray:
        return retrieval.normalized(np.asarray(photo).mean((0, 1)))

    colors = ["#c81e1e", "#1ec81e", "#1e1ec8"]
    photos = [Image.new("RGB", (16, 16), color) for color in colors]
    index = ExemplarIndex(np.stack([mean_color(photo) for photo in photos]), colors, mean_color)
    assert index.nearest(Image.new("RGB", (16, 16), "#2828a0"))[0].name == "#1e1ec8"


def test_search_agrees_with_comparing_one_by_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retrieval, "BLOCK", 7)
    index = random_index()
    places, scores = index.search(index.descriptors, k=5)
    for number, query in enumerate(index.descriptors):
        by_hand = [float(query @ other) for other in index.descriptors]
        expected = sorted(range(40), key=lambda place: -by_hand[place])[:5]
        assert places[number].tolist() == expected
        np.testing.assert_allclose(scores[number], [by_hand[p] for p in expected], rtol=1e-5)


def test_excluded_pictures_are_not_found_and_a_small_collection_gives_fewer():
    index = random_index(count=4)
    query = index.descriptors[2]
    assert index.nearest(query)[0].index == 2
    found = index.nearest(query, k=10, exclude={2})
    assert len(found) == 3
    assert 2 not in [match.index for match in found]


def test_neighbours_never_hold_the_picture_itself_even_beside_twins():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 3, axis=0)
    index = ExemplarIndex(vectors, list("abcdefghi"), np.asarray)
    near = index.neighbours(2)
    assert near.shape == (9, 2)
    for number, places in enumerate(near):
        assert number not in places
        assert set(places // 3) == {number // 3}
    assert index.neighbours(20).shape == (9, 20)
    assert (index.neighbours(20)[:, 8:] == -1).all()


def test_a_single_picture_has_no_neighbour():
    assert random_index(count=1).neighbours(3).tolist() == [[-1, -1, -1]]


def test_a_picture_that_cannot_be_read_keeps_its_place_and_is_never_found():
    index = ExemplarIndex.build([box_mask(0), None, box_mask(40)], MASK)
    found = index.nearest(box_mask(38), k=3)
    assert [match.index for match in found] == [2, 0]
    assert 1 not in index.neighbours(2)


def test_the_index_is_built_once_and_then_read_from_the_disk(tmp_path: Path):
    builds = []

    def build() -> ExemplarIndex:
        builds.append(1)
        return ExemplarIndex.build([box_mask(0), box_mask(40)], MASK, ["a", "b"])

    key = cache_key("data", MASK)
    first, second = (ExemplarIndex.cached(key, build, MASK.descriptor, tmp_path) for _ in range(2))
    assert len(builds) == 1
    assert second.names == first.names
    assert second.nearest(box_mask(38))[0].name == "b"
    np.testing.assert_array_equal(second.descriptors, first.descriptors)
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_a_damaged_index_file_is_built_again(tmp_path: Path):
    def build() -> ExemplarIndex:
        return ExemplarIndex.build([box_mask(0)], MASK, ["a"])

    path = tmp_path / "exemplars-key.safetensors"
    descriptors = {"descriptors": build().descriptors}
    metadata = [None, {}, {"names": "["}, {"names": '["a", "b"]'}]
    for content in (b"half a fi", *(save(descriptors, one) for one in metadata)):
        path.write_bytes(content)
        for _ in range(2):
            index = ExemplarIndex.cached("key", build, MASK.descriptor, tmp_path)
            assert index.names == ["a"]


def test_the_cache_key_changes_with_data_and_condition():
    other = MaskCondition.from_names(["ground", "left", "middle"])
    keys = [
        cache_key("data", MASK),
        cache_key("more data", MASK),
        cache_key("data", other),
    ]
    assert len(set(keys)) == 3
    assert keys[0] == cache_key("data", MaskCondition.from_names(["ground", "left", "right"]))


def test_faiss_finds_what_the_exact_search_finds(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("faiss")
    pytest.importorskip("datasets")
    index = random_index()
    index.descriptors[3] = 0
    exact, scores = index.search(index.descriptors, k=4)
    monkeypatch.setattr(retrieval, "EXACT_LIMIT", 10)
    found, found_scores = index.search(index.descriptors, k=4)
    kept = np.arange(len(index)) != 3
    np.testing.assert_array_equal(found[kept], exact[kept])
    np.testing.assert_allclose(found_scores[kept], scores[kept], rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ExemplarIndex.build([], MASK), "at least one picture"),
        (lambda: ExemplarIndex.build([None], MASK), "at least one picture"),
        (lambda: random_index().nearest(np.ones(5)), "has 5 numbers, the index 6"),
        (lambda: retrieval.normalized(np.array([np.nan])), "finite numbers"),
        (lambda: ExemplarIndex(np.ones((2, 3)), ["a"], np.asarray), "2, 3.*1 names"),
    ],
)
def test_unusable_input_is_refused(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
