"""An endless, seeded, drawn data set for tests and the quick start."""

from .examples import KINDS, SyntheticExamples, write_imagefolder
from .named import PALETTES, NamedScenes
from .person import PERSON_CLASSES
from .scene import SCENE_CLASSES

__all__ = [
    "KINDS",
    "PALETTES",
    "PERSON_CLASSES",
    "SCENE_CLASSES",
    "NamedScenes",
    "SyntheticExamples",
    "write_imagefolder",
]
