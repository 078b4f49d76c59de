"""Tabs of a real browser for the tests of pages."""

import pytest


@pytest.fixture
def show(browser, tmp_path):
    """show(text, width, scheme) -> a tab with that page; whatever it complains of fails the test at the end."""
    complaints, tabs = [], []

    def show_one(text, width=1280, scheme="light"):
        (tmp_path / "page.html").write_text(text, encoding="utf-8")
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        tabs.append(tab)
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto((tmp_path / "page.html").as_uri())
        return tab

    yield show_one
    for tab in tabs:
        tab.close()
    assert complaints == []
