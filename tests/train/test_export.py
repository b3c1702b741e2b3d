"""A checkpoint becomes the pipeline that its run would have ended with."""

import shutil
from pathlib import Path

import pytest
import torch

from cocosnet_hf import CoCosPipeline
from tests.support.training import differences
from tests.train.test_run import config
from train.checkpoints import STATE_FILE, read_state
from train.export import export_checkpoint, main, newest_checkpoint
from train.train import train

pytestmark = pytest.mark.usefixtures("fresh_process")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four steps, for whatever only looks at it."""
    folder = tmp_path_factory.mktemp("finished")
    train(config(folder))
    return folder


def test_the_last_checkpoint_is_the_pipeline_of_the_run(finished: Path, tmp_path: Path):
    shutil.copytree(finished / "run", tmp_path / "run")
    folder = finished / "run" / "pipeline"
    target = export_checkpoint(tmp_path / "run")
    assert target == tmp_path / "run" / "pipeline-4"
    assert {path.name for path in target.iterdir()} >= {"README.md", "discriminator"}
    for name, network in CoCosPipeline.from_pretrained(folder).networks.items():
        found = CoCosPipeline.from_pretrained(target).networks[name].state_dict()
        for key, weight in network.state_dict().items():
            torch.testing.assert_close(found[key], weight, rtol=0, atol=0)


def test_the_averages_of_an_earlier_version_are_read(finished: Path, tmp_path: Path):
    shutil.copytree(finished / "run", tmp_path / "run")
    checkpoint = newest_checkpoint(tmp_path / "run")
    now = read_state(checkpoint)
    state = torch.load(checkpoint / STATE_FILE, weights_only=True)
    for name, average in state["averages"].items():
        weights = {key.removeprefix("module."): value for key, value in average.items()}
        steps = weights.pop("n_averaged").item() - 1
        state["averages"][name] = {"steps": steps, "module": weights}
    torch.save(state, checkpoint / STATE_FILE)
    assert differences(read_state(checkpoint), now) == []


def test_any_checkpoint_goes_to_a_folder_that_is_named(finished: Path, tmp_path: Path, capsys):
    checkpoint = finished / "run" / "checkpoints" / "checkpoint-00000002"
    main([str(checkpoint), "-o", str(tmp_path / "early")])
    assert capsys.readouterr().out.split()[-1:] == [str(tmp_path / "early")]
    assert CoCosPipeline.from_pretrained(tmp_path / "early").config.image_size == 32
    for arguments, message in (
        ([str(checkpoint), "-o", str(tmp_path / "early")], "is there already"),
        ([str(tmp_path / "nowhere")], "neither a checkpoint nor"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err
