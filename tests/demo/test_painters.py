"""The demo's painters, and which pipeline has which tab."""

import gc
import importlib.util
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from cocosnet_hf import Condition, PartEdgeCondition, Pose, PreparedExemplar, bundled
from cocosnet_hf.applications import edit_photo
from cocosnet_hf.conditions.pose import JOINTS
from tests.support import tiny
from tests.support.demo_page import CONDITIONS, SIZE, noise, pose, save_recipe_pipelines, served
from tests.support.loopback_hub import connected_hub

gradio = pytest.importorskip("gradio", reason="needs the extra demo")
import studio.gallery  # noqa: E402
from studio import painters  # noqa: E402
from studio.gallery import Exhibit, gallery_of, store  # noqa: E402
from studio.memory import alone  # noqa: E402
from studio.painters import ENLARGED, PREPARED, Painter, open_painters  # noqa: E402
from studio.result import as_data, board_value  # noqa: E402


def test_a_painter_paints_what_its_pipeline_paints():
    pipe = tiny.pipeline(image_size=SIZE)
    painting = Painter(pipe).paint(noise(), noise(1))
    expected = pipe(noise(), noise(1))
    assert np.array_equal(painting.image, expected.images[0])
    assert np.array_equal(painting.warped, expected.warped_exemplars[0])
    assert painting.condition.size == painting.image.size


def test_a_painter_that_can_paints_large_and_takes_strength_and_points():
    pipe = tiny.blending_pipeline(image_size=SIZE)
    layout, photo = noise(), noise(1, (4 * SIZE, 4 * SIZE))
    knobs = {"strength": 0.9, "points": [((0.2, 0.2), (0.8, 0.8))]}
    painting = Painter(pipe).paint(layout, photo, **knobs)
    prepared = pipe.encode_exemplar(photo, image_size=ENLARGED * SIZE)
    expected = pipe(layout, prepared, scale=ENLARGED, **knobs)
    assert np.array_equal(painting.image, expected.images[0])
    assert painting.image.size == (ENLARGED * SIZE, ENLARGED * SIZE)
    assert not np.array_equal(painting.image, Painter(pipe).paint(layout, photo).image)


def test_a_painter_of_a_model_without_matching_shows_its_pictures_alone():
    pipe = tiny.style_pipeline(SIZE)
    painter = Painter(pipe)
    painting = painter.paint(noise(), noise(1))
    assert np.array_equal(painting.image, pipe(noise(), noise(1)).images[0])
    value = board_value(painting, painter, noise(), [Exhibit(noise(1), None)], as_data)
    assert value["warped"] is None and not {"flow", "sure", "names"} & value.keys()
    assert value["download"] == as_data(painting.image, "painting.png")
    with pytest.raises(ValueError, match="paints without one"):
        painter.flows(noise(), [noise(1)])


def test_an_edited_exemplar_keeps_what_its_layout_keeps():
    pipe = tiny.pipeline(CONDITIONS["mask-to-image"], SIZE, mix_condition=False)
    photo, before = noise(1, (3 * SIZE, 3 * SIZE)), np.zeros((SIZE, SIZE), np.uint8)
    after = before.copy()
    after[:16, :16] = 3
    painting = Painter(pipe).paint(after, photo, before=before)
    assert np.array_equal(painting.result, edit_photo(pipe, photo, after, before))
    assert np.array_equal(painting.image, pipe(after, photo).images[0])
    assert np.array_equal(painting.before, photo) and painting.result.size == photo.size
    kept = Painter(pipe).paint(before, photo, before=before)
    assert np.array_equal(kept.result, photo)


def with_spaces(monkeypatch: pytest.MonkeyPatch, gpu: Callable) -> Any:
    """The module of painters, imported where the package spaces is, which lends GPUs by `gpu`."""
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=gpu))
    spec = importlib.util.spec_from_file_location("studio.with_spaces", painters.__file__)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def free() -> bool:
    """Whether another thread may work, see `alone`."""
    let_in = threading.Event()

    def work() -> None:
        with alone():
            let_in.set()

    threading.Thread(target=work, daemon=True).start()
    return let_in.wait(0.3)


def test_gpus_are_borrowed_where_the_package_spaces_lends_them(monkeypatch: pytest.MonkeyPatch):
    lent: list[tuple[int, Any]] = []

    def gpu(duration: int) -> Callable:
        return lambda task: lambda *a, **k: lent.append((duration, task)) or task(*a, **k)

    painter = with_spaces(monkeypatch, gpu).Painter(tiny.pipeline(image_size=SIZE))
    painter.paint(noise(), noise(1))
    painter.flows(noise(), [noise(1)])
    assert [duration for duration, _ in lent] == [30, 30]
    painters.Painter(tiny.pipeline(image_size=SIZE)).paint(noise(), noise(1))
    assert len(lent) == 2
    # What a borrowed process raises is lost, except for what is meant for the page.
    with pytest.raises(gradio.Error, match="at least 8 x 8 are needed"):
        painter.paint(noise(), noise(size=(4, 4)))


def test_who_waits_for_a_gpu_lets_others_work(monkeypatch: pytest.MonkeyPatch):
    seen: list[bool] = []

    def gpu(**_: int) -> Callable:
        return lambda task: lambda *a, **k: seen.append(free()) or task(*a, **k)

    painter = with_spaces(monkeypatch, gpu).Painter(tiny.pipeline(image_size=SIZE))
    with alone(), alone():
        painter.paint(noise(), noise(1))
        assert not free()  # after it is alone again
        with pytest.raises(gradio.Error, match="at least 8 x 8"):
            painter.paint(noise(), noise(size=(4, 4)))
        assert not free()
    assert free() and seen == [True, True]
    painter.paint(noise(), noise(1))  # by nobody who is alone
    assert free()


def test_where_nothing_is_lent_painting_stays_alone(monkeypatch: pytest.MonkeyPatch):
    pipe = tiny.pipeline(image_size=SIZE)
    painter = with_spaces(monkeypatch, lambda **_: lambda task: task).Painter(pipe)
    others: list[bool] = []
    pipe.translation.register_forward_pre_hook(lambda *_: others.append(free()))
    with alone():
        painter.paint(noise(), noise(1))
    assert others and not any(others)


def test_of_several_portraits_only_new_ones_are_matched(monkeypatch: pytest.MonkeyPatch):
    painter = Painter(tiny.pipeline(image_size=SIZE))
    first = painter.flows(noise(), [noise(1), noise(2)])
    monkeypatch.setattr(painters, "KNOWN_FLOWS", 3)
    second = painter.flows(noise(), [noise(2), noise(3), noise(1)])
    assert second[0] is first[1] and second[2] is first[0]
    expected = painter.pipe.match(noise(3), noise()).coherent()
    assert torch.allclose(second[1].position, expected.position)
    painter.flows(noise(1), [noise(2)])  # the one that was asked for least lately goes
    assert painter.flows(noise(), [noise(3)])[0] is second[1]
    assert painter.flows(noise(), [noise(2)])[0] is not first[1]


def test_an_exemplar_is_prepared_once_and_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch):
    pipe = tiny.pipeline(image_size=SIZE)
    prepared, encode = [], pipe.encode_exemplar

    def encoded(*arguments: Any, **settings: Any) -> PreparedExemplar:
        made = encode(*arguments, **settings)
        prepared.append(weakref.ref(made))
        return made

    monkeypatch.setattr(pipe, "encode_exemplar", encoded)
    painter = Painter(pipe)
    for seed in (0, 0, *range(PREPARED + 1), 0):
        painter.paint(noise(), noise(seed))
    assert len(prepared) == PREPARED + 2
    gc.collect()
    assert sum(reference() is not None for reference in prepared) == PREPARED


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Condition]:
    """Untrained pipelines in place of the bundled ones, with the conditions of their recipes."""
    monkeypatch.setitem(bundled.__globals__, "ASSETS", tmp_path / "assets")
    return save_recipe_pipelines(tmp_path / "assets")


@pytest.mark.slow
def test_a_bundled_pipeline_has_its_tab_as_soon_as_it_is_there(assets: dict[str, Condition]):
    found = open_painters({})
    for tab, painter in found.items():
        assert painter.condition == assets[tab]
        gallery = gallery_of(tab, painter.condition)
        own = gallery.look.condition
        painting = painter.paint(gallery.layout.condition, gallery.look.picture, own)
        drawn = gallery.layout.picture
        assert painting.image.size == (SIZE, SIZE * drawn.height // drawn.width)
        assert gallery.best(gallery[4].condition)[0].index == 4
        assert gallery.find(gallery[4].picture.convert("RGBA")) is gallery[4]
        assert gallery.find(gallery[4].picture.rotate(180)) is None
    with served(found) as url:
        page = httpx.get(f"{url}config").text
    assert "trousers" in page and "mask-to-image-paint" in page and "pose-to-body-paint" in page
    assert "does not come with this version" not in page


def test_a_stored_pose_has_its_missing_joints_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(studio.gallery, "FOLDER", tmp_path)
    joints = pose((96, SIZE)).joints.copy()
    joints[JOINTS.index("nose")] = np.nan
    condition = CONDITIONS["pose-to-body"]
    exhibits = [Exhibit(noise(), Pose(joints, (96, SIZE))), Exhibit(noise(1), pose())]
    store(exhibits, tmp_path / "pose-to-body", condition)
    found = gallery_of("pose-to-body", condition).layout.condition
    assert found.size == (96, SIZE)
    assert np.allclose(found.joints[:, :2], joints[:, :2], atol=0.01, equal_nan=True)


def test_a_tab_takes_a_folder_with_one_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(painters, "bundled_names", list)
    tiny.pipeline(CONDITIONS["pose-to-body"]).save_pretrained(tmp_path, variant="fp16")
    found = open_painters({"pose-to-body": str(tmp_path)})
    assert found["pose-to-body"].condition == CONDITIONS["pose-to-body"]


@pytest.mark.slow
def test_a_tab_takes_a_pipeline_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(painters, "bundled_names", list)
    with connected_hub(monkeypatch, tmp_path):
        tiny.pipeline(CONDITIONS["pose-to-body"]).push_to_hub("alice/bodies")
        found = open_painters({"pose-to-body": "alice/bodies"})
    assert found["pose-to-body"].condition == CONDITIONS["pose-to-body"]
    assert found["mask-to-image"] is None and found["edge-to-face"] is None


def test_a_pipeline_for_another_tab_is_refused(tmp_path: Path):
    tiny.pipeline().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="mask-to-image needs a pipeline with a mask condition"):
        open_painters({"mask-to-image": str(tmp_path)})


def test_the_one_pipeline_of_a_space_takes_the_tab_of_its_condition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tiny.pipeline(CONDITIONS["pose-to-body"]).save_pretrained(tmp_path)
    monkeypatch.setattr(painters, "bundled_names", list)
    monkeypatch.setenv("COCOSNET_PIPELINE", str(tmp_path))
    found = open_painters({})
    assert found["pose-to-body"].condition == CONDITIONS["pose-to-body"]
    assert found["mask-to-image"] is None and found["edge-to-face"] is None


def test_a_pipeline_without_a_tab_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny.pipeline(PartEdgeCondition()).save_pretrained(tmp_path)
    monkeypatch.setenv("COCOSNET_PIPELINE", str(tmp_path))
    with pytest.raises(ValueError, match="celebahq-edge condition, for which there is no tab"):
        open_painters({})


def test_each_tab_takes_the_pipeline_that_its_variable_names(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COCOSNET_EDGE_TO_FACE", "alice/faces")
    assert painters.named_in_environment() == {"edge-to-face": "alice/faces"}
