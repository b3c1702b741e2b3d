"""Files to and from the Hub: nothing that could run, each commit whole or not at all."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    snapshot_download,
)
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from safetensors import SafetensorError, safe_open

from .saved_files import (
    INDEX_FILE,
    LIBRARY,
    STEM,
    only_variant,
    read_json,
    require_known_index,
    superseded,
    weights_of,
)

CODE = (".py", ".pyc", ".pyd", ".so", ".dll")
PICKLES = (".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth")
PIECE = re.compile(r"-(\d+)-of-(\d+)\.safetensors$")
"""Which of how many pieces a file is."""

HIDDEN = re.compile(r"(^|/)\.")
BY_PRODUCT = re.compile(r"(^|/)(__pycache__/|#[^/]*#$)|~$")
"""Caches and an editor's copies."""

# What the client's HTTP library raises when a connection breaks; which library depends on the
# client's version, and the client's own error derives from it.
TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]


def fetch_pipeline(
    repo_id: str,
    components: Iterable[str],
    variant: str | None = None,
    base: type | None = None,
    **hub: Any,
) -> str:
    """Download a pipeline from the Hub, or find it in the cache; the folder it lies in.

    components: the networks that are wanted. base: see `require_known_networks`. variant: of their
    weights; None is the one without a name, or else the only one that there is. hub: `revision`,
    `token`, `cache_dir`, `force_download`, `local_files_only` as in `snapshot_download`.
    Raises what `require_openable` raises, before anything is downloaded if the Hub can be asked;
    ValueError for an index that names networks which are not known here and for weights that are no
    safetensors; FileNotFoundError without the Hub for a cache with another part of the repository
    only; ConnectionError for a connection that breaks on the way, and what `snapshot_download`
    raises. What a broken download left in the cache is never taken for a pipeline; the next one
    goes on from there.
    """
    components = sorted(components)
    names = names_on_hub(repo_id, **hub)
    if names is not None:
        variant = variant or only_variant(names, components)
        require_openable(names, repo_id, components, variant)
    wanted = [INDEX_FILE, *(f"{component}/config.json" for component in components)]
    dot = f".{variant}" if variant else ""
    for component in components:
        wanted += [
            f"{component}/{STEM}{dot}.safetensors",
            f"{component}/{STEM}{dot}-[0-9]*.safetensors",
            f"{component}/{STEM}.safetensors.index{dot}.json",
        ]
    remedy = "Nothing was loaded. Try again: files that were complete are not fetched twice."
    with explained(f"the download of {repo_id}", remedy):
        folder = snapshot_download(repo_id, allow_patterns=wanted, library_name=LIBRARY, **hub)
    if names is None:
        # The cache may hold what another program has fetched of the repository: more, or a part.
        cached, source = files_of(folder), f"the cached copy of {repo_id}"
        require_harmless(cached, source)
        if INDEX_FILE not in cached:
            raise FileNotFoundError(
                f"{source} is no pipeline, it has only {', '.join(sorted(cached)[:3])}, and the "
                f"Hub was not asked or did not answer; load it once with the Hub, or pass "
                f"revision= for a commit that was loaded before."
            )
        variant = variant or only_variant(cached, components)
        require_openable(cached, source, components, variant)
    index = read_json(Path(folder, INDEX_FILE), repo_id)
    require_known_networks(index, repo_id, components, base)
    require_known_index(index, repo_id)
    for component in components:
        for path in sorted(Path(folder, component).glob("*.safetensors")):
            _require_safetensors(path, repo_id)
    return folder


def fetch_index(repo_id: str, **hub: Any) -> dict[str, Any]:
    """The index of a pipeline on the Hub or in the cache: its class, settings and networks.

    hub: as of `fetch_pipeline`. Raises ValueError for a repository that holds code or pickles, or
    no pipeline, and what `snapshot_download` raises.
    """
    names = names_on_hub(repo_id, **hub)
    if names is not None:
        require_openable(names, repo_id, ())
    with explained(f"the download of {repo_id}", "Nothing was loaded. Try again."):
        folder = snapshot_download(repo_id, allow_patterns=INDEX_FILE, library_name=LIBRARY, **hub)
    if not Path(folder, INDEX_FILE).is_file():
        raise FileNotFoundError(
            f"the cached copy of {repo_id} has no {INDEX_FILE}, and the Hub was not asked or did "
            f"not answer; load it once with the Hub, or pass revision= for a commit that was "
            f"loaded before."
        )
    return read_index(folder, repo_id)


def read_index(folder: str | Path, source: str) -> dict[str, Any]:
    """The index of a saved pipeline. source: what messages call it.

    Raises FileNotFoundError for a folder without one, ValueError for one that is none.
    """
    path = Path(folder, INDEX_FILE)
    if not path.is_file():
        raise FileNotFoundError(
            f"{source} has no {INDEX_FILE} and is no saved pipeline; expected a folder as "
            f"save_pretrained of a pipeline writes it."
        )
    return read_json(path, source)


def require_openable(
    names: Collection[str], source: str, components: Iterable[str], variant: str | None = None
) -> None:
    """Raise ValueError unless these are the files of a pipeline that can be opened safely.

    names: paths in the repository or folder `source`. Nothing may be code or pickled, and each
    component must have its configuration and the weights of the variant, once.
    """
    require_harmless(names, source)
    if INDEX_FILE not in names:
        raise ValueError(
            f"{source} has no {INDEX_FILE} and is no saved pipeline; expected a folder as "
            f"save_pretrained of a pipeline writes it."
        )
    for component in components:
        if f"{component}/config.json" not in names:
            raise ValueError(
                f"{source} has no {component}/config.json; expected a pipeline with "
                f"{' and '.join(components)}."
            )
        _require_weights(names, source, component, variant or "")


def require_local(
    folder: str, names: Collection[str], components: Iterable[str], variant: str | None
) -> None:
    """Raise ValueError unless a folder of this machine holds a pipeline that can be opened safely.

    names: the folder's files. components: the networks that are opened from it, which may be of
    imported modules too. variant: of their weights; where it is given, a network without it is
    opened as it is, as in diffusers.
    """
    if INDEX_FILE not in names:
        raise ValueError(
            f"{folder} has no {INDEX_FILE} and is no saved pipeline; expected a folder as "
            f"save_pretrained writes it."
        )
    index = read_json(Path(folder, INDEX_FILE), folder)
    require_known_index(index, folder)
    for component in components:
        if not isinstance(index.get(component), list):
            raise ValueError(
                f"the {INDEX_FILE} of {folder} has no {component} network; expected a pipeline "
                f"with {' and '.join(components)}, or pass {component}=."
            )
        code = f"{component}/{index[component][0]}.py"  # which diffusers would rather run
        require_harmless({code} & {*names}, folder)
        if f"{component}/config.json" not in names:
            raise ValueError(
                f"{folder} has no {component}/config.json; save or fetch the pipeline again."
            )
        if variant is None:
            _require_weights(names, folder, component, "")


def require_harmless(names: Collection[str], source: str) -> None:
    """Raise ValueError if any of these files of the repository or folder is code or pickled."""
    for kind, suffixes in (("code", CODE), ("pickled files", PICKLES)):
        if found := sorted(name for name in names if name.lower().endswith(suffixes)):
            raise ValueError(
                f"{source} is refused because it holds {kind}: {', '.join(found[:3])}. Only "
                f"safetensors and configurations are opened, as anything else could run on your "
                f"machine; remove it there, or convert it."
            )


def _require_weights(names: Collection[str], source: str, component: str, variant: str) -> None:
    """Raise ValueError unless a component's weights of a variant are there, in one form."""
    held = weights_of(names, component)
    files = sorted(held.get(variant, []))
    if not files:
        wanted = f"of the variant {variant!r}" if variant else "without a variant"
        there = ", ".join(name or "those without a variant" for name in sorted(held)) or "none"
        raise ValueError(
            f"{source} has no {component} weights {wanted}; there are: {there}. Choose with "
            f"variant=."
        )
    dot = f".{variant}" if variant else ""
    whole = f"{component}/{STEM}{dot}.safetensors"
    index = f"{component}/{STEM}.safetensors.index{dot}.json"
    if whole not in files and not (index in files and _has_every_piece(files)):
        raise ValueError(
            f"{source} lacks pieces of the {component} weights, or their index; there are: "
            f"{', '.join(files[:3])}. Save the pipeline there again."
        )
    if whole in files and len(files) > 1:
        raise ValueError(
            f"{source} has the {component} weights twice, whole and in pieces: "
            f"{', '.join(files[:3])}. Which of them are meant cannot be told; remove one."
        )


def _has_every_piece(files: Iterable[str]) -> bool:
    """Whether the files hold the pieces 1 to N of N."""
    found: dict[int, set[int]] = {}
    for piece in filter(None, map(PIECE.search, files)):
        found.setdefault(int(piece[2]), set()).add(int(piece[1]))
    return any(numbers >= set(range(1, total + 1)) for total, numbers in found.items())


def require_pipeline(names: Collection[str], source: str, components: Sequence[str]) -> None:
    """`require_openable` for every variant that there is."""
    for variant in sorted(weights_of(names, components[0])) or [""]:
        require_openable(names, source, components, variant or None)


def require_one_place(create_pr: bool, revision: str | None) -> None:
    """Raise ValueError for a commit that is to be both proposed and made."""
    if create_pr and revision is not None:
        raise ValueError("a pull request is made against main; pass create_pr or revision.")


def create_repository(
    repo_id: str,
    *,
    repo_type: str = "model",
    space_sdk: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
) -> str:
    """Create a repository unless it exists; its full id, with the namespace.

    Raises ConnectionError where the Hub cannot be reached, and what `create_repo` raises.
    """
    api = HfApi(library_name=LIBRARY, token=token)
    with explained(f"creating {repo_id}", "Try again."):
        return api.create_repo(
            repo_id, repo_type=repo_type, space_sdk=space_sdk, private=private, exist_ok=True
        ).repo_id


def files_of(folder: str | Path) -> dict[str, Path | bytes]:
    """Every file of a folder by its path in a repository.

    Hidden files, caches and an editor's copies (`app.py~`, `#app.py#`) are left out.
    """
    folder = Path(folder)
    found: dict[str, Path | bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not HIDDEN.search(name) and not BY_PRODUCT.search(name):
            found[name] = path
    return found


def own_files(folder: str | Path) -> dict[str, Path | bytes]:
    """`files_of` a folder that is to be shared.

    Raises ValueError for an empty name, which would mean the current folder, and for links to files
    outside of the folder, but for those of the Hub's cache to its own.
    """
    if not str(folder):
        raise ValueError("no folder is named; give the folder that is to be shared.")
    found = files_of(folder)
    root = Path(folder).resolve()
    cache = root.parents[1] / "blobs" if root.parent.name == "snapshots" else root
    for path in found.values():
        if isinstance(path, Path) and not any(
            path.resolve().is_relative_to(place) for place in (root, cache)
        ):
            raise ValueError(
                f"{path} is a link to {path.resolve()}, which lies outside of {folder} and would "
                f"be shared with it; copy the file into the folder, or remove the link."
            )
    return found


def commit(
    files: Mapping[str, Path | bytes],
    repo_id: str,
    message: str,
    *,
    repo_type: str = "model",
    revision: str | None = None,
    create_pr: bool = False,
    token: str | bool | None = None,
    keep: Collection[str] = (),
    mirror: bool = False,
) -> CommitInfo:
    """Put files into a repository in one commit.

    files: contents or local files, by their path in the repository. Weights that they replace are
    removed, such as the pieces of a network that now comes in one file. revision: branch, made
    from main if it is new, or a PR's "refs/pr/1". keep: files that stay if they are there already.
    mirror: every other file there is removed too, but for hidden ones such as .gitattributes.
    Raises ConnectionError for a connection that breaks: the repository then holds all of the
    commit or nothing of it.
    """
    api = HfApi(library_name=LIBRARY, token=token)
    remedy = f"{repo_id} holds all of this commit or nothing of it; push again."
    with explained(f"the upload to {repo_id}", remedy):
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        there = api.list_repo_files(repo_id, revision=revision, repo_type=repo_type)
        new = {name: content for name, content in files.items() if name not in {*keep} & {*there}}
        old = set(superseded(there, new))
        if mirror:
            old.update(name for name in there if name not in files and not HIDDEN.search(name))
        return api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(name, content) for name, content in new.items()),
                *(CommitOperationDelete(name) for name in sorted(old)),
            ],
            commit_message=message,
            repo_type=repo_type,
            revision=revision,
            create_pr=create_pr,
        )


def names_on_hub(repo_id: str, **hub: Any) -> list[str] | None:
    """The paths of all files of a repository; None where the Hub is not or cannot be asked."""
    if hub.get("local_files_only"):
        return None
    api = HfApi(library_name=LIBRARY, token=hub.get("token"))
    try:
        siblings = api.model_info(repo_id, revision=hub.get("revision")).siblings
    except (TRANSPORT_ERROR, OfflineModeIsEnabled):
        return None  # snapshot_download meets it too, and looks into the cache or says what it is
    return [sibling.rfilename for sibling in siblings or []]


def require_known_networks(
    index: Mapping[str, Any], source: str, components: Iterable[str], base: type | None = None
) -> None:
    """Raise ValueError unless an index names networks that are safe to make here.

    Those are the networks of this package, and with `base` the classes derived from it in modules
    that have been imported already: nothing is imported because an index says so.
    """
    foreign = [name for name in components if not _is_known(index.get(name), base)]
    if not isinstance(index.get("_class_name"), str):
        foreign.append("_class_name")
    if foreign:
        raise ValueError(
            f"{source} is refused because its {INDEX_FILE} says {index.get(foreign[0])} for "
            f"{foreign[0]}; expected a pipeline whose networks are those of {LIBRARY} or of a "
            f"module that is imported: any other would be code that this package does not know."
        )


def _is_known(entry: Any, base: type | None) -> bool:
    """Whether an index's [module, class] is a network of this package or one derived from base."""
    if not isinstance(entry, list) or len(entry) != 2 or not all(type(x) is str for x in entry):
        return False
    module, name = entry
    if module == LIBRARY:
        return True
    found = getattr(sys.modules.get(module), name, None)
    return base is not None and isinstance(found, type) and issubclass(found, base)


def _require_safetensors(path: Path, source: str) -> None:
    """Raise ValueError for a file that only has the name of safetensors, such as a pickle."""
    try:
        with safe_open(path, framework="pt"):
            pass
    except SafetensorError as error:
        raise ValueError(
            f"{source} is refused because {path.parent.name}/{path.name} is no safetensors file "
            f"({error}). Load it with force_download=True; if that does not help, its owner has to "
            f"push the pipeline again."
        ) from error


@contextmanager
def explained(what: str, consequence: str) -> Iterator[None]:
    """Turn a broken connection into a ConnectionError that says what it led to."""
    try:
        yield
    except (HfHubHTTPError, OfflineModeIsEnabled):
        raise  # the Hub's own answers, which say what is wrong
    except (TRANSPORT_ERROR, ConnectionError, RuntimeError) as error:
        # The client reports a file that could not be uploaded as a RuntimeError.
        reason = error.__cause__ or error
        raise ConnectionError(f"{what} broke off ({reason}). {consequence}") from error
