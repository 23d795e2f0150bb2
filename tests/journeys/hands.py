"""A person at a browser: a mouse whose presses are counted, and a keyboard, which is free."""

from typing import Any

from playwright.sync_api import Locator, Page

MOST_TABS = 60
HEAR_PRESSES = """
addEventListener("mousedown", event => { if (event.isTrusted) window.pressed(); }, {capture: true});
"""
FOCUSED = """() => {
  const here = document.activeElement;
  return here && here.labels && here.labels.length ? here.labels[0].innerText.trim() : "";
}"""


class Hands:
    """Mouse presses are counted where they arrive, in the page; choosing from a select counts as one more."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.heard = 0
        self.chosen = 0
        page.expose_function("pressed", self._hear)
        page.add_init_script(HEAR_PRESSES)

    @property
    def presses(self) -> int:
        return self.heard + self.chosen

    def click(self, what: Locator) -> None:
        """One press. The page must have heard it: nothing is clicked by other means."""
        before = self.heard
        what.scroll_into_view_if_needed()
        what.click()
        self.page.wait_for_load_state()
        assert self.heard == before + 1, f"{what} took {self.heard - before} presses"

    def choose(self, select: Locator, label: str) -> None:
        """From a select: one press, however many things are in it."""
        select.select_option(label=label)
        self.chosen += 1

    def write(self, text: str, *, into: str) -> None:
        """Go on with the Tab key to the field of this label, and type over what is there."""
        for _ in range(MOST_TABS):
            if self.page.evaluate(FOCUSED).startswith(into):
                break
            self.page.keyboard.press("Tab")
        else:
            raise AssertionError(f"the Tab key does not lead to “{into}”")
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def _hear(self, *_: Any) -> None:
        self.heard += 1
