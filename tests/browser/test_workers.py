"""The console of several workers: whichever answers, it shows the same."""

from __future__ import annotations

import shutil

import httpx
import pytest

from .conftest import rows, served

TEXTS = 12


@pytest.mark.slow
def test_whichever_worker_answers_shows_the_same(chromium, shop, tmp_path):
    """Counters are of all, the audit log is one chain, and a training that replaces the workers comes to its end."""
    folder = tmp_path / "net"
    shutil.copytree(shop, folder)
    with served(folder, "--workers", "2") as address:
        page = chromium.new_context().new_page()
        page.set_default_timeout(600_000)
        page.goto(f"{address}/rightsizing")
        page.set_input_files("input[type=file]", {"name": "x.csv", "mimeType": "text/csv", "buffer": rows().encode()})
        page.fill("input[name=name]", "helpdesk")
        page.click("button:has-text('Make it a specialist')")
        page.wait_for_selector("h2:has-text('Version')")

        traces = []
        for n in range(TEXTS):  # a connection each, so both workers answer
            body = {"model": "coterie/intents", "messages": [{"role": "user", "content": f"Where is parcel {n}?"}]}
            reply = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=120)
            assert reply.status_code == 200
            traces.append(reply.headers["x-coterie-trace"])
        with httpx.stream("GET", f"{address}/live", timeout=60) as live:
            lines = (line for line in live.iter_lines() if line.startswith("data: "))
            assert any(f'"answered": {TEXTS}' in line for line in lines)
        for trace in traces:
            assert httpx.get(f"{address}/traffic/{trace}", timeout=60).status_code == 200
            audit = httpx.get(f"{address}/governance/audit", timeout=60).text
            assert trace in audit
        page.goto(f"{address}/governance/audit")
        page.click("button:has-text('Verify every line')")
        assert "are as they were written" in page.inner_text(".note.good")

        page.goto(f"{address}/review?queue=spot:intents")
        first = page.inner_text("[data-item]:not([hidden]) .review-text")
        with page.expect_response("**/review"):  # the next item is shown before the gateway has heard of it
            page.keyboard.press("Space")
        page.wait_for_selector(f"[data-item]:not([hidden]) .review-text:not(:has-text({first!r}))")
        second = page.inner_text("[data-item]:not([hidden]) .review-text")
        for _ in range(4):
            page.goto(f"{address}/review?queue=spot:intents")
            assert page.inner_text("[data-item]:not([hidden]) .review-text") == second
        page.keyboard.press("u")
        page.wait_for_selector(f"[data-item]:not([hidden]) .review-text:has-text({first!r})")
        page.context.close()
