"""The console in Chromium: every screen, and the whole path from a file to a promoted version."""

from __future__ import annotations

import gzip
import re
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import httpx
import pytest

from coterie.config.file import load_config
from coterie.console.app import SCREENS
from coterie.flywheel.deployments import Deployments, KnownJob
from coterie.governance.keys import KeyRing
from coterie.store.sqlite import SQLiteStore
from coterie.types import CapturedExample, ComparedAnswer, Label

from .conftest import beside, rows

PAGES = [
    *("", "playground", "compare", "traffic", "sessions", "spend", "review", "flywheel", "rightsizing", "connect"),
    *("specialists/intents", "governance", "governance/audit", "governance/egress", "governance/keys"),
    *("governance/erasure", "TRACE", "SESSION"),
]
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3
ASKED = ("Where is my parcel?", "I want my money back", "طلبي لم يصل بعد وأريد استرداد المال", "荷物が届きません", LONG)


def ask(house, text, **extension):
    """Ask the API; the trace's id."""
    body = {"model": "coterie", "messages": [{"role": "user", "content": text}], "coterie": extension}
    reply = httpx.post(f"{house.address}/v1/chat/completions", json=body, timeout=60)
    return reply.headers["x-coterie-trace"]


@pytest.fixture(scope="module")
def asked(house):
    """Requests in several scripts, one of which was judged, and a job of the flywheel with everything in it."""
    traces = [ask(house, text, session="anna") for text in ASKED]
    httpx.post(f"{house.address}/api/feedback", json={"trace_id": traces[0], "thumb": "up"}, timeout=60)
    beside(fill_flywheel(house))
    return traces


async def fill_flywheel(house, labels=77, count=300):
    """A job with many labels, a version in shadow, differing answers, and an alarm."""
    names = [f"label_{n:02d}" for n in range(labels)]
    store = await SQLiteStore.open(house.folder / "state/coterie.db", session_days=30.0, keep_content=True)
    books = Deployments(store=store.flywheel)
    await books.put_job(KnownJob(id="j1", name="routing", labels={n: n for n in names}, found=time.time()))
    examples = [
        CapturedExample(
            id=f"e{n:04d}",
            request=f"r{n}",
            time=time.time() - count + n,
            job="j1",
            input=f"What is meant by number {n}? 第{n}の件",
            answer=names[n % labels],
            policy="model:large",
            cost=0.001,
            caller=f"a{n % 7}",
            label=Label.INTERNAL,
        )
        for n in range(count)
    ]
    job = await books.job("j1")
    deployed = await books.begin(job, "0123456789abcdef", by="test", reason="first version", figures={}, changed=job)
    deployed = await books.move(deployed, "shadow", by="test", reason="frozen rows passed")
    compared = [
        ComparedAnswer(
            deployment=deployed.id,
            example=example.id,
            time=example.time,
            answer=names[(n + 1) % labels] if n % 3 == 0 else example.answer,
            confidence=0.8,
            accepted=True,
            same=n % 3 != 0,
        )
        for n, example in enumerate(examples)
    ]
    await store.flywheel.add_examples(examples, compared)
    await store.close()


def path_of(page, traces):
    """The address of a page."""
    return page.replace("TRACE", f"traffic/{traces[0]}").replace("SESSION", "sessions/anna")


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_screen(visit, house, asked, theme):
    """Opens without an error, fits 390 and 1280 pixels, and has no serious finding of axe."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = visit(color_scheme=theme)
    for name in PAGES:
        reply = page.goto(f"{house.address}/{path_of(name, asked)}")
        assert reply.status == 200, name
        violations = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        serious = [
            (violation["id"], violation["nodes"][0]["html"][:200])
            for violation in violations
            if violation["impact"] in {"serious", "critical"}
        ]
        assert serious == [], name
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") == 390, name
        assert page.evaluate("document.querySelector('main').getBoundingClientRect().top") < 80, name
        page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.slow
def test_first_load_is_small(visit, house):
    """All that the first page loads is at most 150 kB, and its scripts, packed, at most 40 kB."""
    page, loaded = visit(), {}
    page.on(
        "response", lambda reply: loaded.update({reply.url: len(reply.body())}) if "/live" not in reply.url else None
    )
    page.goto(house.address, wait_until="load")
    assert sum(loaded.values()) <= 150_000
    static = resources.files("coterie.console") / "static"
    scripts = [path.read_bytes() for path in static.iterdir() if path.name.endswith(".js")]
    assert sum(len(gzip.compress(script)) for script in scripts) <= 40_000


@pytest.mark.slow
def test_the_answer_streams_and_its_trace_follows(visit, house):
    """Asked in the playground, the answer stands there before the trace does, and the address is a link to it."""
    page = visit()
    page.goto(f"{house.address}/playground")
    page.fill("textarea[name=text]", "Where is my parcel?")
    page.click("button.main")
    page.wait_for_selector("#trace .finding")
    assert page.inner_text("[data-answer]") == "delivery"
    assert page.inner_text("#trace .finding .value") == "delivery"
    assert "playground?trace=" in page.url
    page.reload()
    assert page.inner_text("#trace .finding .value") == "delivery"


@pytest.mark.slow
def test_without_javascript(visit, house, asked):
    """Asking, filtering, judging and the theme work with forms and links alone."""
    page = visit(java_script_enabled=False)
    page.goto(f"{house.address}/playground")
    page.fill("textarea[name=text]", "You charged my card twice")
    page.click("button.main")
    assert page.inner_text("#trace .finding .value") == "billing"
    page.click("summary:has-text('Was it right?')")
    page.click("button:has-text('Right')")
    assert "Kept." in page.inner_text("[role=status]")
    page.goto(f"{house.address}/traffic")
    page.select_option("select[name=judged]", "right")
    page.click("button:has-text('Show')")
    assert page.locator("#requests tbody tr").count() == 2
    page.click(".side button:has-text('Dark')")
    assert page.get_attribute("html", "data-theme") == "dark"
    assert page.locator("#requests tbody tr").count() == 2  # the same page again
    page.goto(f"{house.address}/review?queue=spot:intents")
    first = page.inner_text("[data-item]:not([hidden]) .review-text")
    page.click("[data-item]:not([hidden]) button[data-key='2']")
    assert page.inner_text("[data-item]:not([hidden]) .review-text") != first


@pytest.mark.slow
def test_a_key_is_a_label(visit, house, asked):
    """Of 77 labels each has keys; the next item stands there at once, undo brings the last one back."""
    page = visit()
    page.goto(f"{house.address}/review?queue=job:j1")
    text = "[data-item]:not([hidden]) .review-text"
    shown = [page.inner_text(text)]
    keys = page.eval_on_selector_all(
        "[data-item]:not([hidden]) button[name=value]", "all => all.map(e => e.dataset.key)"
    )
    assert len(set(keys)) == len(keys) == 77
    for key in (keys[0], keys[40], keys[76], " "):
        before = shown[-1]
        for character in key:
            page.keyboard.press("Space" if character == " " else character)
        assert page.inner_text(text) != before  # without waiting for the gateway
        shown.append(page.inner_text(text))
    assert len(set(shown)) == 5
    page.wait_for_selector("[data-item] >> nth=2", state="attached")
    page.keyboard.press("u")
    page.wait_for_selector(f"[data-item]:not([hidden]) .review-text:has-text({shown[2]!r})")
    page.reload()
    page.wait_for_selector(".terms")
    assert re.search(r"labelled\s+2", page.inner_text(".terms"))
    assert "nan" not in page.inner_text(".terms")


@pytest.mark.slow
def test_every_chart_has_a_table(visit, house, asked):
    """What a chart draws stands in a table of the same page, which says so."""
    page = visit()
    charts = 0
    for name in PAGES:
        page.goto(f"{house.address}/{path_of(name, asked)}")
        drawn = page.locator("svg.chart").count()
        charts += drawn
        if drawn:
            assert page.locator(
                "summary:has-text('as a table') + div table, details:has-text('as a table') table"
            ).count()
    assert charts >= 6


@pytest.mark.slow
def test_with_the_keyboard_alone(visit, house, asked):
    """From the first page to an answer and its judgement without a pointer."""
    page = visit()
    page.goto(house.address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.goto(house.address)
    to = "document.activeElement.textContent.trim()"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate(to) == "Playground":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    page.wait_for_selector("textarea[name=text]")
    page.keyboard.type("Where is my parcel?")  # the focus is there already
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#trace .finding")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(to) == "Was it right?":
            break
    page.keyboard.press("Enter")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate(to) == "Right":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#trace .pill:has-text('right')")


@pytest.mark.slow
def test_a_hidden_page_asks_nothing(visit, house):
    """Its stream is closed while nobody sees it, and opened again."""
    page = visit()
    page.goto(house.address)
    page.wait_for_selector(".live.on")
    seen = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }); "
    seen += "document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(seen, True)
    assert page.locator(".live.on").count() == 0
    page.evaluate(seen, False)
    page.wait_for_selector(".live.on")


@pytest.mark.slow
def test_labelling_and_asking_at_once(house, asked):
    """Reviewers and callers do not lock one another out."""

    def review(_):
        form = {"queue": "job:j1", "act": "skip", "item": "e0200"}
        headers = {"sec-fetch-site": "same-origin"}
        return httpx.post(f"{house.address}/review", data=form, headers=headers, timeout=120).status_code

    with ThreadPoolExecutor(8) as threads:
        asking = threads.map(lambda n: len(ask(house, f"Where is parcel number {n}?")), range(12))
        assert set(threads.map(review, range(12))) == {303}
        assert all(asking)


@pytest.mark.slow
def test_flywheel_has_one_button_to_go_back(visit, house, asked):
    """The lane shows the evidence; going back needs a reason and moves the deployment."""
    page = visit()
    page.goto(f"{house.address}/flywheel")
    lane = page.locator("section.lane[aria-label=shadow]")
    assert "300 calls compared" in lane.inner_text()
    lane.locator("input[name=reason]").fill("it looks odd")
    lane.locator("button:has-text('Go back')").click()
    assert "is retired now" in page.inner_text("[role=status]")


@pytest.mark.slow
def test_from_a_file_to_a_promoted_version(visit, house):
    """Upload, train, ask, see the trace, correct it, train again, promote: in the browser alone."""
    page = visit()
    page.goto(f"{house.address}/rightsizing")
    page.set_input_files("input[type=file]", {"name": "a b.csv", "mimeType": "text/csv", "buffer": rows().encode()})
    page.fill("input[name=name]", "helpdesk")
    page.fill("input[name=description]", "What people ask at the desk.")
    page.click("button:has-text('Make it a specialist')")
    page.wait_for_selector("h2:has-text('Version')", timeout=600_000)
    assert page.inner_text(".pill.champion") == "serves now"
    page.click("a:has-text('Ask it')")
    page.fill("textarea[name=text]", "My invoice has the wrong name on it")
    page.click("button.main")
    page.wait_for_selector("#trace .finding")
    page.click("summary:has-text('Was it right?')")
    page.select_option("#trace select[name=value]", "billing")
    page.fill("#trace textarea[name=text]", "My invoice has the wrong name on it")
    page.click("#trace button:has-text('Keep the value')")
    page.wait_for_selector("[id^=said-]:has-text('would have been')")
    assert "My invoice has the wrong name on it,billing" in (house.folder / "data/helpdesk.csv").read_text()
    page.goto(f"{house.address}/specialists/helpdesk")
    first = page.inner_text("tbody th.mono").strip()
    page.click("button:has-text('Train')")
    page.wait_for_selector("h2:has-text('Version')", timeout=600_000)
    page.click("a:has-text('Its report')")
    page.goto(f"{house.address}/specialists/helpdesk/{first}")
    page.fill("form[action$=promote] input[name=reason]", "the first one was good enough")
    page.check("form[action$=promote] input[name=force]")
    page.click("form[action$=promote] button")
    assert f"{first} serves now" in page.inner_text("[role=status]")
    assert page.inner_text("tr:has(.pill.champion) th").strip() == first


@pytest.mark.slow
def test_right_sizing_says_what_is_enough(visit, house):
    """The verdict, a row for each rung, and quality against cost."""
    page = visit()
    page.goto(f"{house.address}/rightsizing")
    page.set_input_files(
        "input[type=file]", {"name": "messages.csv", "mimeType": "text/csv", "buffer": rows().encode()}
    )
    page.click("button:has-text('Measure every rung')")
    page.wait_for_selector("h2:has-text('Verdict')", timeout=600_000)
    assert page.locator("table[class], table").count() >= 1
    assert "embedding" in page.inner_text("main")


# --- From here on there are keys.


@pytest.fixture(scope="module")
def keys(house, asked):
    """Keys of two tenants and several roles, by name."""
    ring = KeyRing(house.folder / load_config(house.folder).gateway.keys)
    made = {
        "boss": ring.create("boss", role="admin"),
        "ann": ring.create("ann", role="member", tenant="acme"),
        "watch": ring.create("watch", role="operator", tenant="acme"),
        "audit": ring.create("audit", role="auditor", tenant="acme"),
        "low": ring.create("low", role="member", clearance=Label.PUBLIC),
    }
    return {name: key.token for name, key in made.items()}


def sign_in(page, house, token, goal=""):
    """Sign in with a key."""
    page.goto(f"{house.address}/{goal}")
    page.fill("input[name=key]", token)
    page.click("button.main")


@pytest.mark.slow
def test_sign_in_leads_where_one_wanted_to_go(visit, house, keys):
    """A wrong key is refused; the right one opens the page that was asked for; signing out closes it."""
    page = visit()
    sign_in(page, house, "ctr_wrong", "traffic?status=accepted")
    assert "opens nothing" in page.inner_text("[role=alert]")
    page.fill("input[name=key]", keys["boss"])
    page.click("button.main")
    assert page.url.endswith("/traffic?status=accepted")
    cookie = next(cookie for cookie in page.context.cookies() if cookie["name"] == "coterie_session")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert keys["boss"] not in cookie["value"]
    page.click(".side button:has-text('Sign out')")
    page.goto(f"{house.address}/spend")
    assert "sign-in" in page.url


@pytest.mark.slow
def test_two_tenants_see_their_own(visit, house, keys, asked):
    """A member of another tenant finds neither requests, nor traces, nor sessions, nor figures of the first."""
    page = visit()
    sign_in(page, house, keys["ann"], "traffic")
    assert page.locator("#requests tbody tr").count() == 0
    assert page.goto(f"{house.address}/traffic/{asked[0]}").status == 404
    assert page.goto(f"{house.address}/sessions/anna").status == 404
    page.goto(f"{house.address}/spend")
    assert "Nothing was spent" in page.inner_text("main")


@pytest.mark.slow
def test_roles_open_what_they_may(visit, house, keys):
    """Each page answers a role as its permission says, and its name stands in the navigation only then."""
    may = {"watch": {"metrics"}, "audit": {"metrics", "traces", "audit"}, "ann": {"ask", "traces"}}
    held = {"audit": {"traces", "audit"}}  # counters are of all tenants: not for an auditor of one
    for name, permissions in may.items():
        page = visit()
        sign_in(page, house, keys[name])
        for screen in SCREENS:
            if screen.method == "GET" and "{" not in screen.path and screen.path != "/live":
                allowed = screen.needs is None or screen.needs in held.get(name, permissions)
                reply = page.request.get(house.address + screen.path)
                assert (reply.status == 200) == allowed, (name, screen.path, reply.status)
        page.context.close()


@pytest.mark.slow
def test_spot_checks_show_progress_and_agreement(visit, house, keys, asked):
    """What people said of answers is counted by person, with how often they were right and how far two agree."""
    for name, labels in {"boss": ("returns", "billing"), "low": ("returns", "delivery")}.items():
        for trace, value in zip(asked[:2], labels, strict=True):
            httpx.post(
                f"{house.address}/api/feedback",
                json={"trace_id": trace, "value": value},
                headers={"authorization": f"Bearer {keys[name]}"},
                timeout=60,
            ).raise_for_status()
    page = visit()
    sign_in(page, house, keys["boss"], "review?queue=spot:intents")
    page.wait_for_selector(".terms")
    names, values = (page.locator(f".terms {tag}").all_inner_texts() for tag in ("dt", "dd"))
    terms = dict(zip(names, values, strict=True))
    assert {"boss 2", "low 2"} <= set(terms["people"].split(", "))
    assert terms["agreement of two"] == "kappa 0.33 on 2"
    assert "%" in terms["answers judged right"]


@pytest.mark.slow
def test_above_the_clearance_are_figures_only(visit, house, keys, asked):
    """A key that may see what is public reads no text of an internal request, and its energy and time."""
    page = visit()
    sign_in(page, house, keys["low"], f"traffic/{asked[0]}")
    assert "figures only" in page.inner_text("main")
    assert "parcel" not in page.content()
    assert "delivery" not in page.inner_text("main")
    assert " J" in page.inner_text(".figures")


@pytest.mark.slow
def test_the_secret_of_a_key_is_shown_once(visit, house, keys):
    """Made in the browser, it works as the API's key, and the next look does not have it."""
    page = visit()
    sign_in(page, house, keys["boss"], "governance/keys")
    page.fill("input[name=name]", "robot")
    page.click("button:has-text('Make it')")
    token = page.inner_text("#secret").strip()
    models = httpx.get(f"{house.address}/v1/models", headers={"authorization": f"Bearer {token}"}, timeout=60)
    assert models.status_code == 200
    page.goto(f"{house.address}/governance/keys")
    assert token not in page.content()
    page.click("button[aria-label='Revoke robot']")
    models = httpx.get(f"{house.address}/v1/models", headers={"authorization": f"Bearer {token}"}, timeout=60)
    assert models.status_code == 401


@pytest.mark.slow
def test_governance_verifies_and_erases(visit, house, keys):
    """The audit log is whole, and names what was done here; a session is shown before it is erased."""
    page = visit()
    sign_in(page, house, keys["boss"], "governance/audit")
    page.click("button:has-text('Verify every line')")
    assert "are as they were written" in page.inner_text(".note")
    assert {"sign_in", "request"} <= set(page.locator("tbody td:nth-child(3)").all_inner_texts())
    page.goto(f"{house.address}/governance/erasure")
    page.fill("input[name=session]", "anna")
    page.click("button:has-text('Show what would go')")
    assert "1, with" in page.inner_text(".terms")
    page.click("button:has-text('Erase it for good')")
    assert "Erased." in page.inner_text("[role=status]")
    assert page.goto(f"{house.address}/sessions/anna").status == 404
