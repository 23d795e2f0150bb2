"""The generated vectors are what their generator makes."""

from tests.conformance.generate import files
from tests.conformance.vectors import VECTORS, layout


def test_the_generated_files_are_what_the_generator_makes() -> None:
    for name, data in files():
        assert (VECTORS / f"{name}.json").read_text(encoding="utf-8") == layout(data), name
