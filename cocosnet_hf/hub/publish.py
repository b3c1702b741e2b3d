"""Whole things to share: a pipeline's folder, a converted official checkpoint, a Space."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import CommitInfo, EvalResult, HfApi, ModelCard, SpaceCard

from ..cards import CARD_FILE, add_results, renamed
from ..convert import convert_checkpoint
from ..image_translation import ImageTranslationPipeline
from ..models.network import Network
from ..systems import class_named, saved_class
from ..transfer import (
    LIBRARY,
    commit,
    create_repository,
    explained,
    fetch_index,
    files_of,
    names_on_hub,
    own_files,
    read_index,
    require_known_networks,
    require_one_place,
    require_openable,
    require_pipeline,
)

PIPELINE_VARIABLE = "COCOSNET_PIPELINE"
"""Environment variable in which a Space's app finds the pipeline that it shows."""

PACKAGE = Path(__file__).parents[1]
PACKAGE_DATA = ("py.typed", "card_template.md", "study.html")
"""What is part of the package beside its modules and the bundled pipelines, as setup.cfg says."""
BUNDLED_DATA = (".md", ".json", ".txt", ".png", ".jpg", ".safetensors")

SPACE_FILES = ("README.md", "app.py", "requirements.txt")


def publish_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    create_pr: bool = False,
    revision: str | None = None,
    commit_message: str | None = None,
    token: str | bool | None = None,
) -> CommitInfo:
    """Share a saved pipeline as it lies in its folder: every variant, discriminator and card.

    It may be that of any system whose module has been imported. The card is the folder's README.md
    under its new name. create_pr, revision: as in `CoCosPipeline.push_to_hub`. Raises ValueError
    for a folder that could not be opened from the Hub, for links out of it and for create_pr
    together with revision, and what `create_repository` and `commit` raise.
    """
    require_one_place(create_pr, revision)
    files = own_files(folder)
    kind = require_shareable(folder, files)
    repo_id = create_repository(repo_id, private=private, token=token)
    if CARD_FILE in files:
        files[CARD_FILE] = str(renamed(ModelCard.load(Path(folder, CARD_FILE)), repo_id)).encode()
    return commit(
        files,
        repo_id,
        commit_message or f"Upload {kind.__name__}",
        create_pr=create_pr,
        revision=revision,
        token=token,
    )


def require_shareable(
    folder: str | Path, files: Mapping[str, Path | bytes]
) -> type[ImageTranslationPipeline]:
    """The class of a pipeline that could be opened from the Hub: of these files in this folder.

    Raises ValueError for one that could not.
    """
    source = str(folder)
    require_openable(files, source, ())
    kind = saved_class(folder)
    require_known_networks(read_index(folder, source), source, kind.network_names(), Network)
    require_pipeline(files, source, kind.network_names())
    return kind


def publish_figures(
    pipeline: str | Path, results: Sequence[EvalResult], *, token: str | bool | None = None
) -> Path | CommitInfo:
    """Put figures into the card of a pipeline, in its folder or on the Hub, as `add_results` does.

    Raises ValueError for a folder without a card, OSError where the Hub has none, ConnectionError
    for a connection that breaks.
    """
    if (folder := Path(pipeline)).is_dir():
        card = ModelCard.load(folder / CARD_FILE)
        add_results(card, results)
        card.save(folder / CARD_FILE)
        return folder / CARD_FILE
    with explained(f"the download of the card of {pipeline}", "It is as it was; try again."):
        card = ModelCard.load(str(pipeline), token=token)  # type: ignore[arg-type]  # a bool will do
    add_results(card, results)
    return commit({CARD_FILE: str(card).encode()}, str(pipeline), "Add figures", token=token)


def publish_converted(
    checkpoint: str | Path,
    repo_id: str,
    *,
    task: str | None = None,
    epoch: str | int = "latest",
    ema: bool = False,
    private: bool | None = None,
    token: str | bool | None = None,
) -> CommitInfo:
    """Convert an official checkpoint and share it with the terms of its release.

    checkpoint, task, epoch, ema: as in `convert_checkpoint`. Raises what that and `publish_folder`
    raise.
    """
    with tempfile.TemporaryDirectory() as folder:
        convert_checkpoint(checkpoint, folder, task, epoch, ema)
        message = "Upload the converted official networks"
        return publish_folder(folder, repo_id, private=private, commit_message=message, token=token)


def publish_space(
    space_id: str,
    pipeline: str | None = None,
    *,
    folder: str | Path = "demo",
    private: bool | None = None,
    token: str | bool | None = None,
) -> CommitInfo:
    """Put a demo on the Hub as a Space that shows the bundled pipelines, or one of the Hub too.

    This package with its licence and the bundled pipelines goes along beside app.py, so that the
    Space runs what runs here; requirements.txt names what it needs. Other files that the Space
    has, such as those of an earlier version, are removed in the same commit.

    pipeline: Hub id, which the app finds in the environment variable COCOSNET_PIPELINE; a private
    one also needs a token as the Space's secret HF_TOKEN. folder: with app.py, requirements.txt and
    a README.md whose header has `sdk: gradio`.
    Raises ValueError for a folder of another shape, for links out of it and a repository that is no
    pipeline, and what `package_files`, `create_repository` and `commit` raise.
    """
    files = own_files(folder)
    if missing := [name for name in SPACE_FILES if name not in files]:
        raise ValueError(
            f"{folder} lacks {', '.join(missing)}; expected a Space's folder with "
            f"{', '.join(SPACE_FILES)}."
        )
    card = SpaceCard.load(Path(folder, CARD_FILE))
    if card.data.get("sdk") != "gradio":
        raise ValueError(
            f"the header of {folder}/{CARD_FILE} must say `sdk: gradio`, got "
            f"{card.data.get('sdk')!r}."
        )
    if pipeline is not None:
        names = names_on_hub(pipeline, token=token)
        if names is None:
            raise ValueError(
                f"{pipeline} cannot be found on the Hub; push the pipeline first, or use a token "
                f"that may read it, or try again if the Hub did not answer."
            )
        require_openable(names, pipeline, ())
        kind = _shown_class(fetch_index(pipeline, token=token), pipeline)
        require_pipeline(names, pipeline, kind.network_names())
        card.data.models = [pipeline]
    files[CARD_FILE] = str(card).encode()
    files |= {f"{LIBRARY}/{name}": path for name, path in package_files().items()}
    files["LICENSE"] = licence_file()
    space_id = create_repository(
        space_id, repo_type="space", space_sdk="gradio", private=private, token=token
    )
    message = f"Show {pipeline or 'the bundled pipelines'}"
    done = commit(files, space_id, message, repo_type="space", token=token, mirror=True)
    with explained(f"configuring {space_id}", "Its files are published; publish it again."):
        _name_pipeline(HfApi(library_name=LIBRARY, token=token), space_id, pipeline)
    return done


def _name_pipeline(api: HfApi, space_id: str, pipeline: str | None) -> None:
    """Tell a Space's app which pipeline of the Hub it shows, None for no other than the bundled."""
    if pipeline is not None:
        api.add_space_variable(space_id, PIPELINE_VARIABLE, pipeline)
    elif PIPELINE_VARIABLE in api.get_space_variables(space_id):
        api.delete_space_variable(space_id, PIPELINE_VARIABLE)


def _shown_class(index: Mapping[str, Any], pipeline: str) -> type[ImageTranslationPipeline]:
    """The class of a pipeline that a Space can open.

    Raises ValueError for one with classes of other packages, which no Space has.
    """
    kind = class_named(index, pipeline)
    require_known_networks(index, pipeline, kind.network_names())
    condition = index.get("condition")
    type_name = str(condition.get("type")) if isinstance(condition, Mapping) else ""
    needed = [kind.__module__, type_name.partition(":")[0] if ":" in type_name else LIBRARY]
    for module in needed:
        if module.partition(".")[0] != LIBRARY:
            raise ValueError(
                f"a Space carries {LIBRARY} alone and could not open {pipeline}, which needs "
                f"{module}; put its class into the package, or write a Space of your own."
            )
    return kind


def package_files() -> dict[str, Path | bytes]:
    """This package by path: modules, what they read, and the bundled pipelines and networks.

    Nothing else that lies in its folder, such as a pipeline that is not finished. Raises
    ValueError for a bundled pipeline that could not be opened.
    """
    there = files_of(PACKAGE)
    packages = {
        PurePosixPath(name).parent for name in there if PurePosixPath(name).name == "__init__.py"
    }
    found = {
        name: path
        for name, path in there.items()
        if name in PACKAGE_DATA or (name.endswith(".py") and PurePosixPath(name).parent in packages)
    }
    indices = [*PACKAGE.glob("assets/*/model_index.json"), *PACKAGE.glob("assets/*/config.json")]
    for index in sorted(indices):
        folder = index.parent
        files = {
            name: path for name, path in files_of(folder).items() if name.endswith(BUNDLED_DATA)
        }
        if index.name == "model_index.json":  # else one network
            require_shareable(folder, files)
        found |= {f"assets/{folder.name}/{name}": path for name, path in files.items()}
    return found


def licence_file() -> Path:
    """The licence of this package, where pip put it or in a copy of the repository.

    Raises FileNotFoundError if it is in neither place.
    """
    root = PACKAGE.parent
    for path in (*root.glob(f"{LIBRARY}-*.dist-info/**/LICENSE"), root / "LICENSE"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"the licence of {LIBRARY}, which has to go along with it, is neither in {root} nor where "
        f"pip puts it; install the package again."
    )
