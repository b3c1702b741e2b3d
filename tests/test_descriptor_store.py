"""Descriptors on disk: made in parts, found exactly, or by an index that names candidates."""

from pathlib import Path

import numpy as np
import pytest

from cocosnet_hf import descriptor_store
from cocosnet_hf.descriptor_store import INDEX_FILE, DescriptorStore
from tools.measure_retrieval import drawn

COUNT, PART, NUMBERS = 50, 8, 6


def vectors(count: int = COUNT) -> np.ndarray:
    found = np.random.default_rng(0).normal(size=(count, NUMBERS))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def filled(folder: Path, rows: np.ndarray, part: int = PART) -> DescriptorStore:
    """A store of these descriptors, its parts made from the last to the first."""
    store = DescriptorStore(folder, len(rows), part)
    for number in reversed(range(store.parts)):
        store.write(number, [row if row.any() else None for row in rows[store.rows(number)]])
    return store


def test_search_agrees_with_comparing_one_by_one_across_parts(tmp_path: Path):
    rows = vectors()
    rows[[3, 17]] = 0
    store = filled(tmp_path, rows)
    store.build()
    queries = vectors(9)
    places, scores = store.search(queries, 4)
    kept = rows.astype(np.float16).astype(np.float32)
    for query, found, score in zip(queries, places, scores, strict=True):
        by_hand = kept @ query
        by_hand[[3, 17]] = -np.inf
        assert found.tolist() == np.argsort(-by_hand, kind="stable")[:4].tolist()
        np.testing.assert_allclose(score, by_hand[found], rtol=1e-5)
    assert not (tmp_path / INDEX_FILE).exists()


def test_a_small_collection_gives_fewer_and_a_part_without_any_none(tmp_path: Path):
    rows = vectors(10)
    rows[8:] = 0
    places, scores = filled(tmp_path, rows).search(rows[:1], 12)
    assert sorted(places[0, :8].tolist()) == list(range(8))
    assert places[0, 8:].tolist() == [-1] * 4
    assert np.isneginf(scores[0, 8:]).all()


def test_parts_are_whole_or_not_there_and_all_of_them_are_needed(tmp_path: Path):
    store = DescriptorStore(tmp_path, COUNT, PART)
    assert [store.rows(number) for number in (0, 6)] == [range(8), range(48, 50)]
    with pytest.raises(ValueError, match="Part 6 has 2 pictures, got 1"):
        store.write(6, [vectors()[0]])
    assert list(tmp_path.iterdir()) == []
    store.write(6, vectors()[:2])
    assert store.has(6)
    with pytest.raises(ValueError, match="lacks 6 of 7 parts.*part 0.*all of them see"):
        store.build()


def test_a_collection_that_cannot_be_read_at_all_is_refused(tmp_path: Path):
    store = DescriptorStore(tmp_path, 3, PART)
    store.write(0, [None] * 3)
    with pytest.raises(ValueError, match="None of the exemplars can be read"):
        store.build()


def test_queries_of_another_length_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"\(1, 5\).*have 6 numbers"):
        filled(tmp_path, vectors()).search(np.ones((1, 5)), 1)


def test_an_empty_collection_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="at least one picture, got 0"):
        DescriptorStore(tmp_path, 0)


def test_the_index_finds_nearly_all_that_the_exact_search_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("faiss")
    monkeypatch.setattr(descriptor_store, "EXACT_LIMIT", 100)
    rows = drawn(0, 3000, 8)
    rows[7] = 0
    store = filled(tmp_path, rows, part=500)
    store.build()
    assert (tmp_path / INDEX_FILE).is_file()
    queries = drawn(10**9, 100, 8)
    exact, exact_scores = store.exact_search(queries, 5)
    found, scores = DescriptorStore(tmp_path, len(rows), 500).search(queries, 5)
    same = found[:, 0] == exact[:, 0]
    assert same.mean() > 0.9
    np.testing.assert_allclose(scores[same, 0], exact_scores[same, 0], rtol=1e-5)
    assert 7 not in found


def test_without_faiss_a_large_collection_is_searched_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(descriptor_store, "EXACT_LIMIT", 10)
    monkeypatch.setattr(descriptor_store, "has_faiss", lambda: False)
    store = filled(tmp_path, vectors())
    store.build()
    places, _ = store.search(vectors(9), 3)
    np.testing.assert_array_equal(places, store.exact_search(vectors(9), 3)[0])
    assert not (tmp_path / INDEX_FILE).exists()
