"""The first specialist: from a folder that `coterie init` made to an answer, in the browser alone."""

from __future__ import annotations

import httpx
import pytest

from .conftest import House, rows, run, served, watch


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_network_begins_empty(chromium, tmp_path, workers):
    """It serves without a specialist, says so to programs and people, and serves the first one without a restart."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    folder = tmp_path / "net"
    run(tmp_path, "init", str(folder))
    body = {"model": "coterie", "messages": [{"role": "user", "content": "You charged my card twice"}]}
    with served(folder, "--workers", workers) as address:
        house = House(folder, address)
        refused = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_trained")
        page = chromium.new_context().new_page()
        page.set_default_timeout(300_000)
        watch(page, house, (address,))
        for name in ("playground", ""):
            page.goto(f"{address}/{name}")
            assert page.inner_text("#h-first") == "This network answers nothing yet"
            violations = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
            assert [violation["id"] for violation in violations if violation["impact"] in {"serious", "critical"}] == []
        page.click("a:has-text('Choose a file')")
        page.set_input_files("input[type=file]", {"name": "x.csv", "mimeType": "text/csv", "buffer": rows().encode()})
        page.fill("input[name=name]", "helpdesk")
        page.click("button:has-text('Make it a specialist')")
        page.wait_for_selector("h2:has-text('Version')")
        page.click("a:has-text('Ask it')")
        for _ in range(240):  # another worker may still show what it opened with, until it is replaced
            if page.locator("textarea[name=text]").count():
                break
            page.wait_for_timeout(250)
            page.reload()
        page.fill("textarea[name=text]", "You charged my card twice")
        page.click("button.main")
        page.wait_for_selector("#trace .finding")
        assert page.inner_text("[data-answer]") == "billing"
        for _ in range(240):
            answered = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60)
            if answered.status_code == 200:
                break
            page.wait_for_timeout(250)
        assert (answered.status_code, answered.json()["choices"][0]["message"]["content"]) == (200, "billing")
        page.goto(address)
        for _ in range(240):
            if not page.locator("#h-first").count():
                break
            page.wait_for_timeout(250)
            page.reload()
        assert page.locator("#h-first").count() == 0
        assert page.locator(".node:has-text('helpdesk')").count() == 1
        page.context.close()
    assert house.wrong == []
