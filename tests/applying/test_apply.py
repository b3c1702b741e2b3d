"""A pipeline onto a collection: every row once, in every form of output, with what made it."""

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf import CoCosPipeline, MaskCondition
from cocosnet_hf.applying import ApplySettings, apply
from cocosnet_hf.applying.application import Application
from cocosnet_hf.datasets import DataSettings, Reader, open_source
from cocosnet_hf.retrieval import ExemplarIndex
from cocosnet_hf.synthetic import SCENE_CLASSES
from tests.support import tiny
from tests.support.applying import COLUMNS, files, lines, settings

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("fresh_process")

ROWS = 20
NAMES = {f"mask-0-{number:06d}" for number in range(ROWS)}


@pytest.fixture(scope="module")
def painted(root: Path) -> Path:
    """The folder that a run over all scenes made."""
    summary = apply(settings(root))
    assert (summary.items, summary.painted, summary.broken) == (ROWS, ROWS, [])
    return root / "painted"


def test_every_row_is_painted_once_with_the_name_of_its_exemplar(painted: Path):
    found = lines(painted)
    assert {one["name"] for one in found} == NAMES
    assert sorted(one["position"] for one in found) == list(range(ROWS))
    for one in found:
        assert one["exemplar"] == f"mask-0-{100 + one['exemplar_position']:06d}"


def test_a_folder_is_read_back_as_a_data_set(painted: Path, tmp_path: Path):
    rows = datasets.load_dataset(
        "imagefolder", data_dir=str(painted), split="train", cache_dir=str(tmp_path)
    )
    assert set(rows["name"]) == NAMES
    assert {image.size for image in rows["image"]} == {(32, 32)}


def test_the_exemplar_is_the_nearest_and_the_picture_what_the_pipeline_makes_of_both(
    painted: Path, root: Path
):
    pipe = CoCosPipeline.from_pretrained(root / "pipeline").fold()
    pipe.set_progress_bar_config(disable=True)
    pool = settings(root).exemplars
    rows, reader = open_source(pool, pipe.condition), Reader(pool, pipe.condition)
    photos = [reader.read(row, place).image for place, row in enumerate(rows)]
    index = ExemplarIndex.build(photos, pipe.condition)
    data = open_source(settings(root).data, pipe.condition)
    for one in lines(painted)[:5]:
        photo = reader.read(data[one["position"]], 0).image
        nearest = index.nearest(photo)[0]
        assert one["exemplar_position"] == nearest.index
        assert one["score"] == pytest.approx(nearest.score, abs=1e-3)
        expected = pipe(photo, photos[nearest.index]).images[0]
        shard, number = divmod(one["position"], 6)
        found = Image.open(painted / f"{shard:06d}" / f"{number:06d}.png")
        difference = np.asarray(found, int) - np.asarray(expected, int)
        assert np.abs(difference).max() <= 1  # rounded alike in a batch and alone


def test_parquet_is_read_back_with_pictures_and_provenance(painted: Path, root: Path):
    apply(settings(root, "parquet/x.parquet"))
    rows = datasets.load_dataset(
        "parquet",
        data_files=str(root / "parquet" / "x-*.parquet"),
        split="train",
        cache_dir=str(root / "cache"),
    )
    expected = {one["name"]: one for one in lines(painted)}
    for row in rows:
        assert {key: row[key] for key in COLUMNS} == {
            key: expected[row["name"]][key] for key in COLUMNS
        }
        shard, number = divmod(row["position"], 6)
        same = Image.open(painted / f"{shard:06d}" / f"{number:06d}.png")
        assert row["image"].tobytes() == same.tobytes()
    assert len(rows) == ROWS


@pytest.mark.slow
def test_webdataset_is_read_back_by_the_library_and_as_plain_tars(root: Path):
    apply(settings(root, "tars/x-{shard}.tar", picture="jpg"))
    rows = datasets.load_dataset(
        "webdataset",
        data_files=str(root / "tars" / "*.tar"),
        split="train",
        cache_dir=str(root / "cache"),
    )
    assert {row["json"]["name"] for row in rows} == NAMES
    keys = []
    for path in sorted((root / "tars").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                content = tar.extractfile(member).read()
                if member.name.endswith(".jpg"):
                    assert Image.open(io.BytesIO(content)).size == (32, 32)
                else:
                    keys.append(json.loads(content)["name"])
    assert sorted(keys) == sorted(NAMES)


def test_what_was_painted_is_a_collection_itself(painted: Path, root: Path):
    again = dataclasses.replace(settings(root).data, source=str(painted), id_column="name")
    summary = apply(settings(root, "twice", data=again, limit=4))
    assert summary.items == 4
    assert {one["name"] for one in lines(root / "twice")} <= NAMES


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_a_stream_is_painted_as_the_set_that_it_comes_from(form: str, painted: Path, root: Path):
    suffix = {"parquet": "parquet", "webdataset": "tar"}[form]
    source = root / f"files-{form}"
    source.mkdir()
    rows = datasets.load_dataset(
        "imagefolder", data_dir=str(root / "data"), split="train", cache_dir=str(root / "cache")
    )
    if form == "parquet":
        for number in range(2):
            part = rows.shard(2, number, contiguous=True)
            part.to_parquet(str(source / f"{number}.parquet"))
    else:
        for number in range(2):
            with tarfile.open(source / f"{number}.tar", "w") as tar:
                for index in range(10 * number, 10 * number + 10):
                    buffer = io.BytesIO()
                    rows[index]["image"].save(buffer, "PNG")
                    member = tarfile.TarInfo(f"{rows[index]['id']}.png")
                    member.size = buffer.tell()
                    tar.addfile(member, io.BytesIO(buffer.getvalue()))
    column = "png" if form == "webdataset" else "image"
    data = DataSettings(source=str(source), streaming=True, image_column=column)
    chosen = settings(root, f"stream.{suffix}", format="folder", data=data)
    summary = apply(chosen)
    assert (summary.items, summary.shards) == (ROWS, 4)  # two files of 10 rows, 6 and 4 each
    application = Application(chosen, torch.device("cpu"), "another")
    assert application.lanes_left == []
    (root / f"stream.{suffix}/.apply/shards/00001-000001.json").unlink()
    assert application.lanes_left == [1]
    by_name = {one["name"].split("/")[-1].removesuffix(".png"): one for one in lines(painted)}
    for one in lines(root / f"stream.{suffix}"):
        name = one["name"].split("/")[-1].removesuffix(".png")
        assert one["exemplar"] == by_name[name]["exemplar"]


def test_rows_with_an_exemplar_of_their_own_keep_it(root: Path, tmp_path: Path):
    scenes = MaskCondition.from_names(SCENE_CLASSES)
    tiny.pipeline(scenes).save_pretrained(tmp_path / "pipeline")
    drawn = DataSettings(
        condition_column="condition",
        exemplar_column="exemplar",
        exemplar_condition_column="exemplar_condition",
    )
    chosen = settings(root, tmp_path / "column", data=drawn, exemplars=None, limit=5)
    summary = apply(dataclasses.replace(chosen, pipeline=str(tmp_path / "pipeline")))
    assert summary.items == 5
    for one in lines(tmp_path / "column"):
        assert one["exemplar"] == f"exemplar of {one['name']}"
        assert one["score"] is None


def test_a_collection_that_is_its_own_pool_gives_no_row_itself(root: Path):
    data = settings(root).data
    apply(settings(root, "own", exemplars=data))
    for one in lines(root / "own"):
        assert one["exemplar_position"] != one["position"]


# Broken rows ------------------------------------------------------------------------------------


@pytest.fixture
def with_broken(root: Path, tmp_path: Path) -> ApplySettings:
    """Five photos, of which one is damaged and one has no edges nor anything else: 9 x 200."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for number, path in enumerate(sorted((root / "data").rglob("*-00000[0-2].png"))[:3]):
        (folder / f"{number}.png").write_bytes(path.read_bytes())
    (folder / "3.png").write_bytes(b"no picture")
    Image.new("RGB", (9, 200)).save(folder / "4.png")
    data = DataSettings(source=str(folder), cache_dir=str(tmp_path / "cache"), max_broken_share=0.5)
    return settings(root, tmp_path / "painted", data=data)


def test_broken_rows_are_counted_and_named_and_the_others_painted(with_broken: ApplySettings):
    summary = apply(with_broken)
    assert summary.items == 3
    reasons = {Path(one["name"]).name: one["why"] for one in summary.broken}
    assert reasons.keys() == {"3.png", "4.png"}
    assert "more than 8 times as long as wide" in reasons["4.png"]
    text = Path(with_broken.output, ".apply", "summary.json").read_text()
    assert json.loads(text)["broken"] == summary.broken
    assert "2 rows could not be painted" in str(summary)


def test_too_many_broken_rows_end_the_run(with_broken: ApplySettings):
    data = dataclasses.replace(with_broken.data, max_broken_share=0.2)
    with pytest.raises(RuntimeError, match="2 of 5 examples.*max_broken_share=0.2"):
        apply(dataclasses.replace(with_broken, data=data))


# Settings ---------------------------------------------------------------------------------------


def test_a_second_run_with_other_settings_is_refused_by_name(painted: Path, root: Path):
    before = files(painted)
    with pytest.raises(ValueError, match="batch_size was 3, is 2"):
        apply(settings(root, batch_size=2))
    assert files(painted) == before


def test_a_finished_run_paints_nothing_again(painted: Path, root: Path):
    before = files(painted)
    summary = apply(settings(root))
    assert (summary.items, summary.painted) == (ROWS, 0)
    assert files(painted) == before
    application = Application(settings(root), torch.device("cpu"), "another")
    assert (application.lanes_left, application.parts_left) == ([], [])
    (painted / ".apply/shards/000002.json").unlink()
    next((painted / ".apply").glob("exemplars-*/part-00000.npy")).unlink()
    assert (application.lanes_left, application.parts_left) == ([2], [0])
    apply(settings(root))  # for the tests that come


@pytest.mark.parametrize(
    ("output", "form"),
    [
        ("painted", "folder"),
        ("x.parquet", "parquet"),
        ("a/x-{shard}.tar", "webdataset"),
        ("user/repo", "hub"),
        ("./user/repo", "folder"),
        ("tests/repo", "folder"),
        ("a/b/c", "folder"),
    ],
)
def test_the_name_of_the_output_says_its_form(output: str, form: str, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    made = ApplySettings(pipeline="p", data=DataSettings(), exemplars=DataSettings(), output=output)
    assert made.form == form


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exemplars": None}, "need 'exemplar_column'"),
        ({"data": DataSettings(exemplar_column="e")}, "come from one place"),
        ({"batch_size": 0}, "'batch_size' must be at least 1, got 0"),
        ({"picture": "bmp"}, "'picture' must be one of"),
        ({"format": "zip"}, "'format' must be one of"),
        ({"data": DataSettings(source="x", streaming=True), "limit": 3}, "a stream does not"),
        ({"format": "hub", "output": "a/b/c"}, "is called user/repo"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes: dict, message: str):
    given = {"data": DataSettings(), "exemplars": DataSettings(source="x"), "output": "out"}
    with pytest.raises(ValueError, match=message):
        ApplySettings(pipeline="p", **given | changes)
