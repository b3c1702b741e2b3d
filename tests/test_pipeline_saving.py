"""Pipelines saved, loaded and made from each other."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cocosnet_hf import PRESETS, CoCosPipeline, EdgeCondition
from tests.support import tiny
from tests.support.painting import CLASSES, assert_same_images, labels, photo, quiet, run

# Saving and loading -------------------------------------------------------------------------


def components_of(folder: Path) -> dict[str, Any]:
    index = json.loads((folder / "model_index.json").read_text())
    return {name: index[name] for name in ("correspondence", "translation")}


OURS = {
    "correspondence": ["cocosnet_hf", "CorrespondenceNetwork"],
    "translation": ["cocosnet_hf", "TranslationNetwork"],
}


def test_a_pipeline_that_is_saved_again_does_not_tell_where_it_was_loaded_from(
    masks: CoCosPipeline, tmp_path: Path
):
    masks.save_pretrained(tmp_path / "first")
    CoCosPipeline.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    files = list((tmp_path / "second").rglob("*.json"))
    assert len(files) == 3
    assert not [file for file in files if str(tmp_path) in file.read_text()]


def test_a_saved_and_loaded_pipeline_paints_the_same(masks: CoCosPipeline, tmp_path: Path):
    masks.save_pretrained(tmp_path)
    loaded = quiet(CoCosPipeline.from_pretrained(tmp_path))
    assert loaded.condition == masks.condition
    assert loaded.config.image_size == masks.config.image_size
    arguments = labels(1), photo(2), labels(2)
    assert_same_images(run(loaded, *arguments), run(masks, *arguments))


def test_the_index_names_the_package_however_the_pipeline_came_to_be(
    edges: CoCosPipeline, tmp_path: Path
):
    edges.save_pretrained(tmp_path / "made")
    index = json.loads((tmp_path / "made" / "model_index.json").read_text())
    assert {name: value for name, value in index.items() if not name.startswith("_d")} == {
        "_class_name": "CoCosPipeline",
        **OURS,
        "condition": {
            "type": "edge",
            "sigma": 1.0,
            "low": 0.1,
            "high": 0.2,
            "reach": 32.0,
            "guided": False,
        },
        "image_size": 32,
        "image_width": None,
        "matching_scale": 1,
    }
    loaded = CoCosPipeline.from_pretrained(tmp_path / "made")
    loaded.save_pretrained(tmp_path / "loaded")
    assert components_of(tmp_path / "loaded") == OURS
    CoCosPipeline.from_pipe(loaded).save_pretrained(tmp_path / "from_pipe")
    assert components_of(tmp_path / "from_pipe") == OURS
    loaded.translation = tiny.translation(seed=5)
    loaded.register_modules(correspondence=tiny.correspondence(seed=6))
    loaded.save_pretrained(tmp_path / "replaced")
    assert components_of(tmp_path / "replaced") == OURS
    assert_same_images(
        run(quiet(CoCosPipeline.from_pretrained(tmp_path / "replaced")), photo(1), photo(2)),
        run(quiet(loaded), photo(1), photo(2)),
    )


def test_a_discriminator_beside_the_pipeline_disturbs_nothing(edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path)
    tiny.discriminator().save_pretrained(tmp_path / "discriminator")
    loaded = quiet(CoCosPipeline.from_pretrained(tmp_path))
    assert set(loaded.components) == {"correspondence", "translation"}
    assert_same_images(run(loaded, photo(1), photo(2)), run(edges, photo(1), photo(2)))


def test_a_component_may_be_passed_to_the_loading(edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path)
    other = tiny.translation(seed=5)
    assert CoCosPipeline.from_pretrained(tmp_path, translation=other).translation is other


def test_a_variant_is_saved_and_loaded_by_name(edges: CoCosPipeline, tmp_path: Path):
    half = copy.deepcopy(edges).to(torch.float16)
    half.save_pretrained(tmp_path, variant="fp16")
    assert len(list(tmp_path.rglob("*.fp16.safetensors"))) == 2
    loaded = CoCosPipeline.from_pretrained(tmp_path, variant="fp16", dtype=torch.float32)
    rough = run(quiet(loaded), photo(1), photo(2))
    assert (rough - run(edges, photo(1), photo(2))).square().mean().sqrt() < 0.02
    with pytest.raises(ValueError, match="variant=bogus"):
        CoCosPipeline.from_pretrained(tmp_path, variant="bogus")


def test_the_only_variant_is_found_and_of_several_one_must_be_chosen(
    edges: CoCosPipeline, tmp_path: Path
):
    edges.save_pretrained(tmp_path, variant="fp16", max_shard_size="20KB")
    assert_same_weights(CoCosPipeline.from_pretrained(tmp_path), edges)
    edges.save_pretrained(tmp_path, variant="bf16")
    with pytest.raises(ValueError, match="without a variant; there are: bf16, fp16. Choose with v"):
        CoCosPipeline.from_pretrained(tmp_path)
    plain = tiny.pipeline(seed=3)
    plain.save_pretrained(tmp_path)
    assert_same_weights(CoCosPipeline.from_pretrained(tmp_path), plain)
    assert_same_weights(CoCosPipeline.from_pretrained(tmp_path, variant="fp16"), edges)


@pytest.mark.parametrize(
    "sizes",
    [
        ("20KB", "10GB"),
        pytest.param(("10GB", "20KB"), marks=pytest.mark.slow),
        pytest.param(("20KB", "40KB"), marks=pytest.mark.slow),
    ],
)
def test_saving_again_replaces_what_was_saved_and_leaves_other_variants(
    sizes: tuple[str, str], edges: CoCosPipeline, tmp_path: Path
):
    for variant in (None, "fp16"):
        edges.save_pretrained(tmp_path, variant=variant, max_shard_size=sizes[0])
    other = tiny.pipeline(seed=3)
    other.save_pretrained(tmp_path, max_shard_size=sizes[1])
    other.save_pretrained(tmp_path / "anew", max_shard_size=sizes[1])
    for network in ("correspondence", "translation"):
        there = {file.name for file in (tmp_path / network).iterdir() if "fp16" not in file.name}
        assert there == {file.name for file in (tmp_path / "anew" / network).iterdir()}
    assert_same_weights(CoCosPipeline.from_pretrained(tmp_path), other)
    assert_same_weights(CoCosPipeline.from_pretrained(tmp_path, variant="fp16"), edges)


def assert_same_weights(first: CoCosPipeline, second: CoCosPipeline) -> None:
    for name, network in first.networks.items():
        others = second.networks[name].state_dict()
        for key, value in network.state_dict().items():
            assert torch.equal(value, others[key]), key


def test_a_pipeline_saved_in_pieces_paints_the_same(edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path, max_shard_size="8KB", variant="fp32")
    assert len(list(tmp_path.rglob("*.fp32-*-of-*.safetensors"))) > 4
    loaded = quiet(CoCosPipeline.from_pretrained(tmp_path, variant="fp32"))
    assert_same_images(run(loaded, photo(1), photo(2)), run(edges, photo(1), photo(2)))


def test_a_pipeline_is_loaded_by_its_name_on_the_hub(edges: CoCosPipeline, tmp_path: Path):
    repository = tmp_path / "models--someone--edges"
    edges.save_pretrained(repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)  # as the Hub client leaves a download
    loaded = CoCosPipeline.from_pretrained("someone/edges", cache_dir=tmp_path)
    assert_same_images(run(quiet(loaded), photo(1), photo(2)), run(edges, photo(1), photo(2)))


def test_loading_in_half_precision_paints_about_the_same(edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path)
    half = quiet(CoCosPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16
    out = half(photo(1), photo(2), output_type="pt")
    assert out.images.dtype == out.warped_exemplars.dtype == torch.float32
    error = out.images - run(edges, photo(1), photo(2))
    assert error.square().mean().sqrt() < 0.1
    mixed = CoCosPipeline.from_pretrained(
        tmp_path, dtype={"correspondence": torch.float32, "default": torch.bfloat16}
    )
    assert mixed.correspondence.dtype == torch.float32
    assert mixed.translation.dtype == torch.bfloat16
    assert run(quiet(mixed), photo(1), photo(2)).isfinite().all()
    mixed = CoCosPipeline.from_pretrained(
        tmp_path, dtype={"correspondence": torch.bfloat16, "default": torch.float32}
    )
    guides = []
    mixed.translation.register_forward_pre_hook(lambda _, inputs: guides.append(inputs[1]))
    run(quiet(mixed), photo(1), photo(2))
    encoded = mixed.condition.encode(photo(1), *guides[0].shape[-2:])
    assert torch.equal(guides[0][0], encoded)  # not by way of the other network's precision


@pytest.mark.parametrize("side", [0, -8, "256", 1.5])
def test_a_size_that_is_none_is_refused_when_the_pipeline_is_made(edges: CoCosPipeline, side: Any):
    for name in ("image_size", "image_width"):
        with pytest.raises(ValueError, match=f"{name} must be a number of pixels from 1 on"):
            CoCosPipeline(**edges.components, condition=edges.condition, **{name: side})


def test_a_pipeline_made_from_another_shares_its_networks(edges: CoCosPipeline):
    other = quiet(CoCosPipeline.from_pipe(edges))
    assert other.translation is edges.translation
    assert other.condition == edges.condition
    assert torch.equal(run(other, photo(1), photo(2)), run(edges, photo(1), photo(2)))


def test_components_and_parameters_are_those_of_the_constructor(edges: CoCosPipeline):
    assert edges.components == {
        "correspondence": edges.correspondence,
        "translation": edges.translation,
    }
    assert edges.parameters.keys() >= {"condition", "image_size"}
    again = CoCosPipeline(**edges.components, **edges.parameters)
    assert torch.equal(run(quiet(again), photo(1), photo(2)), run(edges, photo(1), photo(2)))


def test_offloading_changes_nothing(edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path)
    offloaded = quiet(CoCosPipeline.from_pretrained(tmp_path))
    offloaded.enable_model_cpu_offload(device="cpu")
    for _ in range(2):
        assert_same_images(run(offloaded, photo(1), photo(2)), run(edges, photo(1), photo(2)))
    prepared = offloaded.encode_exemplar(photo(2))
    assert_same_images(run(offloaded, photo(1), prepared), run(edges, photo(1), photo(2)))


def test_folding_changes_the_picture_by_rounding_only_and_forbids_saving(
    edges: CoCosPipeline, tmp_path: Path
):
    folded = quiet(copy.deepcopy(edges))
    assert folded.fold() is folded
    assert folded.correspondence.folded and folded.translation.folded
    assert_same_images(run(folded, photo(1), photo(2)), run(edges, photo(1), photo(2)), 1e-3)
    with pytest.raises(ValueError, match="save it before calling fold"):
        folded.save_pretrained(tmp_path)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_a_pipeline_that_knows_its_condition(name: str):
    with torch.device("meta"):
        pipe = CoCosPipeline.from_preset(name)
    assert pipe.condition == PRESETS[name].condition
    assert pipe.correspondence.config.condition_channels == pipe.condition.channels
    assert pipe.config.image_size == 256


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="unknown task 'faces'; known are ade20k, "):
        CoCosPipeline.from_preset("faces")


# Bad input ----------------------------------------------------------------------------------


def test_another_condition_may_be_set_and_is_saved(tmp_path: Path):
    pipe = tiny.pipeline()
    pipe.condition = EdgeCondition(reach=5.0)
    pipe.save_pretrained(tmp_path)
    assert "reach" in repr(pipe)
    assert CoCosPipeline.from_pretrained(tmp_path).condition == EdgeCondition(reach=5.0)
    with pytest.raises(ValueError, match="conditions of 2 channels.*has 3"):
        pipe.condition = CLASSES
    with pytest.raises(ValueError, match=r"an object such as EdgeCondition\(\)"):
        pipe.condition = EdgeCondition().to_config()
    assert pipe.condition == EdgeCondition(reach=5.0)


@pytest.mark.parametrize("settings", [{"high": np.float32(0.3)}, {"guided": 0}, {"reach": 5}])
def test_a_condition_that_is_set_can_be_opened_again(settings: dict, tmp_path: Path):
    pipe = tiny.pipeline()
    pipe.condition = EdgeCondition(**settings)
    pipe.save_pretrained(tmp_path)
    assert CoCosPipeline.from_pretrained(tmp_path).condition == EdgeCondition(**settings)


def test_a_condition_that_no_file_keeps_is_refused_when_it_is_set():
    pipe = tiny.pipeline()
    with pytest.raises(ValueError, match="could not be opened again: .*guided must be bool"):
        pipe.condition = EdgeCondition(guided="no")


def test_nothing_is_saved_as_a_pickle(edges: CoCosPipeline, tmp_path: Path):
    for save in (edges.save_pretrained, edges.translation.save_pretrained):
        with pytest.raises(ValueError, match="would pickle"):
            save(tmp_path, safe_serialization=False)
    with pytest.raises(ValueError, match="would pickle"):
        edges.save_pretrained(tmp_path, False)
    assert not list(tmp_path.iterdir())


REFUSED: list[tuple[Callable[[dict], None], str]] = [
    (lambda index: index["condition"].update(type="sketch"), "must be one of .* got 'sketch'"),
    (lambda index: index["condition"].update(blur=2), r"unknown setting condition\.blur"),
    (lambda index: index.pop("condition"), "needs to know its condition"),
    (lambda index: index["condition"].update(type=["edge"]), r"must be one of .* got \['edge'\]"),
    (lambda index: index["condition"].update(reach="x"), "reach must be float, got 'x'"),
    (lambda index: index.update(image_size=10**9), "image_size must be at most 16384 pixels"),
    (lambda index: index.update(image_size=True), "image_size must be a number of pixels"),
    (lambda index: index.update(image_size={}), "model_index.json, or .*, is of the wrong type"),
    (lambda index: index.update(matching_scale="2"), "matching_scale must be 1, 2 or 4"),
    (lambda index: index.pop("translation"), "has no translation network"),
    (lambda index: index.update(translation=["cocosnet_hf"]), "refused because .* for translation"),
    (lambda index: index.update(translation=[["x"], 1]), "refused because .* for translation"),
    (lambda index: index.update(translation=["cocosnet_hf", "bundled"]), "refused .* for transl"),
    (lambda index: index.update(_class_name=["pipeline", "X"]), "refused .* for _class_name"),
    (lambda index: index.pop("_class_name"), "refused .* for _class_name"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_a_folder_with_a_condition_that_cannot_be_rebuilt_is_refused(
    change: Callable[[dict], None], message: str, edges: CoCosPipeline, tmp_path: Path
):
    edges.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    change(index)
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=message):
        CoCosPipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize("key", ["correspondence", "translation", "condition", "scheduler"])
def test_no_folder_imports_a_module(
    key: str, edges: CoCosPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    edges.save_pretrained(tmp_path / "saved")
    (tmp_path / "hostile.py").write_text("raise SystemExit('it ran')\nclass Net: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    index = json.loads((tmp_path / "saved" / "model_index.json").read_text())
    index[key] = ["hostile", "Net"]
    (tmp_path / "saved" / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=f"for {key}, and no module is imported because a folder"):
        CoCosPipeline.from_pretrained(tmp_path / "saved")
    if key in edges.components:
        given = {key: edges.components[key]}
        with pytest.raises(ValueError, match="import hostile first if it is yours"):
            CoCosPipeline.from_pretrained(tmp_path / "saved", **given)


def test_no_folder_brings_code(edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path)
    code = "raise SystemExit('it ran')"
    (tmp_path / "pipeline.py").write_text(code)
    for options in ({"trust_remote_code": True}, {"custom_pipeline": str(tmp_path)}):
        with pytest.raises(ValueError, match="would run code of a repository; leave it out"):
            CoCosPipeline.from_pretrained(tmp_path, **options)
    assert_same_weights(CoCosPipeline.from_pretrained(tmp_path), edges)
    (tmp_path / "translation" / "cocosnet_hf.py").write_text(code)
    with pytest.raises(ValueError, match="it holds code: translation/cocosnet_hf.py"):
        CoCosPipeline.from_pretrained(tmp_path)


BROKEN = [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b"null"]


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: str(content[:4]))
@pytest.mark.parametrize("file", ["model_index.json", "translation/config.json"])
def test_a_folder_whose_json_is_broken_is_refused(
    file: str, content: bytes, edges: CoCosPipeline, tmp_path: Path
):
    edges.save_pretrained(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=f"its {Path(file).name} is no JSON object; expected one"):
        CoCosPipeline.from_pretrained(tmp_path)


SETTINGS: list[tuple[str, Any]] = [
    ("channels", [12, 10, 8, "8"]),
    ("channels", 5),
    ("channels", None),
    ("channels", []),
    ("channels", [10**30, 8, 8, 8]),
    ("condition_channels", "two"),
    ("condition_channels", {}),
    ("quantization_config", {"quant_method": "bitsandbytes"}),
]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_a_network_whose_settings_have_wrong_types_is_refused(
    name: str, value: Any, edges: CoCosPipeline, tmp_path: Path
):
    edges.save_pretrained(tmp_path)
    config = tmp_path / "translation" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {name: value}))
    with pytest.raises(ValueError, match="config.json (describes no|asks for)|channels must name"):
        CoCosPipeline.from_pretrained(tmp_path)


def test_a_network_too_large_for_its_files_is_refused_before_it_is_made(
    edges: CoCosPipeline, tmp_path: Path
):
    edges.save_pretrained(tmp_path)
    config = tmp_path / "translation" / "config.json"
    wide = {"channels": [100_000] * 4}
    config.write_text(json.dumps(json.loads(config.read_text()) | wide))
    with pytest.raises(ValueError, match=r"it has \d[\d,]+ numbers, the files \d[\d,]+ bytes"):
        CoCosPipeline.from_pretrained(tmp_path)


def test_a_folder_with_a_weight_missing_is_refused(edges: CoCosPipeline, tmp_path: Path):
    edges.save_pretrained(tmp_path)
    other = tiny.translation(channels=(12, 10, 8, 8))
    other.save_pretrained(tmp_path / "other")
    weights = "diffusion_pytorch_model.safetensors"
    (tmp_path / "other" / weights).replace(tmp_path / "translation" / weights)
    with pytest.raises(ValueError, match="do not fit the TranslationNetwork .* another shape"):
        CoCosPipeline.from_pretrained(tmp_path)
