"""What was prepared, as a data set of the Hub with the recipe that reads it from there."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from ..transfer import commit, create_repository, explained
from .recipe import Plan, write_recipe
from .writing import hub_data_set


def push(plan: Plan, output: Path, repo_id: str, command: str, private: bool = False) -> str:
    """Put the splits in `output`, pictures included, and their recipe on the Hub; its full id.

    The recipe there has the data set as its source. plan: that the recipe was written by. command:
    for its head. private: a new data set is for its owner alone. Raises ConnectionError for a
    connection that breaks, and what the Hub answers to names and tokens that are not right.
    """
    repo_id = create_repository(repo_id, repo_type="dataset", private=private or None)
    with explained(f"the upload to {repo_id}", "The same command goes on with it."):
        hub_data_set(output).push_to_hub(repo_id)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recipe.yaml")
        write_recipe(dataclasses.replace(plan, source=repo_id), path, command, path.name)
        commit({path.name: path}, repo_id, "Add the recipe", repo_type="dataset")
    return repo_id
