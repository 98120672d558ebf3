from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright", reason="needs the extra browser; see scripts/browser-check")

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Page
    from tests.browser.conftest import Said, Site

HOSTILE = "<img src=x onerror=\"document.title='gotcha'\"><script>alert(1)</script> & \u202e \"'"
expect.set_options(timeout=30_000)


def opened(page: Page, site: Site) -> Page:
    page.goto(site.url)
    expect(page.locator("body")).to_have_attribute("data-link", "live")
    return page


def test_it_loads_and_shows_captions_as_they_come(page: Page, said: Said, site: Site) -> None:
    site.appear("door")
    opened(page, site)
    expect(page.locator("#node")).to_have_text("attic")
    expect(page).to_have_title("AI Flow · attic")
    expect(page.locator("#counts")).to_have_text(
        "1 device online · 1 camera online · 1 edge node online"
    )
    expect(page.locator("#empty")).to_have_text("No caption yet.")
    site.say(1, "a red bus waits")
    site.say(2, "a white dog runs")
    rows = page.locator("#lines li")
    expect(rows.locator(".text")).to_have_text(["a white dog runs", "a red bus waits"])
    expect(rows.first.locator(".tier")).to_have_text("edge")
    expect(rows.first.locator(".confidence")).to_have_text("0.61")
    expect(rows.first.locator(".latency")).to_have_text("21\u2009ms")
    expect(rows.first.locator(".bytes")).to_have_text("34\u2009B")
    expect(page.locator("#frames-total")).to_have_text("2 in all")
    expect(page.locator("#bytes-total")).to_have_text("68\u2009B in all, 34\u2009B a frame")
    expect(page.locator("#jpeg-total")).to_have_text("known of synthetic cameras only")
    expect(page.locator("#alarms")).to_have_text("no alarms")
    assert page.locator("figure").is_hidden()
    assert said.complaints == []


def test_a_refined_caption_replaces_the_text_where_it_stands(
    page: Page, said: Said, site: Site
) -> None:
    opened(page, site)
    for number in range(3):
        site.say(number, f"caption {number}")
    texts = page.locator("#lines .text")
    expect(texts).to_have_text(["caption 2", "caption 1", "caption 0"])
    site.say(1, "what it really is", update=True)
    expect(texts).to_have_text(["caption 2", "what it really is", "caption 0"])
    row = page.locator("#lines li").nth(1)
    expect(row.locator(".tier")).to_have_text("cloud")
    assert "changed" in (row.get_attribute("class") or "")
    row.click()
    expect(page.locator("#drafts")).to_have_text("edge first said, 0.61: caption 1")
    expect(page.locator("#frames-total")).to_have_text("3 in all")
    expect(page.locator("#tiers .legend")).to_have_text("edge 67\u2009%cloud 33\u2009%")
    assert said.complaints == []


def test_search_camera_and_tier_filter_the_list(page: Page, said: Said, site: Site) -> None:
    site.appear("door", "yard")
    opened(page, site)
    site.say(1, "a red bus")
    site.say(2, "a red dog", camera="yard")
    site.say(3, "a blue bus", camera="yard")
    texts = page.locator("#lines .text")
    expect(texts).to_have_count(3)
    page.keyboard.press("/")
    page.keyboard.type("red Bus")
    expect(texts).to_have_text(["a red bus"])
    expect(page.locator("#found")).to_have_text("1 of 3")
    site.say(4, "another red bus")  # what comes later is filtered as well
    site.say(5, "a horse")
    expect(texts).to_have_text(["another red bus", "a red bus"])
    page.keyboard.press("Escape")
    expect(texts).to_have_count(5)
    page.locator("#camera").select_option("pi/yard")
    expect(texts).to_have_text(["a blue bus", "a red dog"])
    page.locator("#camera").select_option("")
    page.get_by_role("button", name="edge").click()
    expect(page.locator("#empty")).to_have_text("Nothing like that among recent captions.")
    site.say(2, "a red fox", camera="yard", update=True)  # refined, it is the cloud's
    expect(texts).to_have_text(["a red fox"])
    assert said.complaints == []


def test_what_fires_a_trigger_is_marked_and_can_be_looked_for(
    page: Page, said: Said, site: Site
) -> None:
    opened(page, site)
    for number, text in enumerate(("a red bus", "a white dog", "a grey dog", "a horse")):
        site.say(number, text)
    texts, choice = page.locator("#lines .text"), page.locator("#trigger")
    expect(texts).to_have_count(4)
    expect(choice).to_be_hidden()
    site.say(1, "a white dog", trigger="dog")
    site.say(0, "a red bus", trigger="bus")
    site.say(0, "a red bus", trigger=HOSTILE[:60])
    marks = page.locator("#lines .marks b")
    expect(marks).to_have_text(["dog", "bus", HOSTILE[:60]])
    expect(texts).to_have_count(4)  # no lines of their own
    expect(choice.locator("option")).to_have_text(
        ["all captions", "any trigger", HOSTILE[:60], "bus", "dog"]
    )
    choice.select_option("dog")
    expect(texts).to_have_text(["a white dog"])
    expect(page.locator("#found")).to_have_text("1 of 4")
    site.say(2, "a grey dog", trigger="dog")  # what fires later comes in
    expect(texts).to_have_text(["a grey dog", "a white dog"])
    choice.select_option("any trigger")
    expect(texts).to_have_text(["a grey dog", "a white dog", "a red bus"])
    choice.select_option("all captions")
    page.locator("#query").fill("bus")
    expect(texts).to_have_text(["a red bus"])
    page.locator("#lines li").click()
    expect(page.locator("#detail-facts")).to_contain_text("bus, <img")
    assert page.locator("#lines img, #detail-facts img").count() == 0
    expect(page).to_have_title("AI Flow · attic")
    assert said.complaints == []


def test_the_keyboard_walks_through_captions(page: Page, said: Said, site: Site) -> None:
    opened(page, site)
    for number in range(3):
        site.say(number, f"caption {number}")
    expect(page.locator("#lines li")).to_have_count(3)
    picked = page.locator('#lines [aria-selected="true"] .text')
    page.keyboard.press("ArrowDown")
    expect(picked).to_have_text("caption 2")
    page.keyboard.press("ArrowDown")
    expect(picked).to_have_text("caption 1")
    site.say(3, "caption 3")  # what is picked stays so
    expect(page.locator("#lines li")).to_have_count(4)
    expect(page.locator("#detail-text")).to_have_text("caption 1")
    expect(page.locator("#detail-facts")).to_contain_text("34 on the wire, 20 of them payload")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Escape")
    expect(picked).to_have_count(0)
    expect(page.locator("#detail-text")).to_have_text("caption 3")
    assert said.complaints == []


def test_what_others_write_is_text_and_nothing_else(page: Page, said: Said, site: Site) -> None:
    camera = "<b onclick=alert(1)>door"
    site.appear(camera)
    opened(page, site)
    site.say(1, HOSTILE, camera=camera)
    site.say(1, f"{HOSTILE} again", camera=camera, update=True)
    row = page.locator("#lines li")
    expect(row.locator(".text")).to_have_text(f"{HOSTILE} again")
    row.click()
    expect(page.locator("#drafts q")).to_have_text(HOSTILE)
    expect(page.locator("#cameras b")).to_have_text(f"pi/{camera}")
    assert page.locator("#lines img, #lines script, #lines b, #detail script").count() == 0
    expect(page).to_have_title("AI Flow · attic")
    assert said.complaints == []


def test_it_comes_back_after_the_edge_node(page: Page, said: Said, site: Site) -> None:
    site.appear("door")
    opened(page, site)
    site.say(1, "before")
    texts = page.locator("#lines .text")
    expect(texts).to_have_text(["before"])
    site.edge.stop()
    expect(page.locator("body")).to_have_attribute("data-link", "lost")
    expect(page.locator("#link")).to_have_text("edge node not reachable, trying again")
    expect(page).to_have_title("(lost) AI Flow · attic")
    site.edge.start()
    site.wait_for_page()
    expect(page.locator("body")).to_have_attribute("data-link", "live")
    site.say(2, "after")
    expect(texts).to_have_text(["after", "before"])
    # The browser itself reports each attempt to connect that failed; nothing else is said.
    assert [one for one in said.complaints if "ERR_" not in one] == []


def test_a_lost_broker_is_an_alarm(page: Page, said: Said, site: Site) -> None:
    site.appear("door")
    opened(page, site)
    expect(page.locator("#alarms")).to_have_text("no alarms")
    site.session.announce(site.topics.status("pi", "door"), b"offline")
    expect(page.locator("#troubles")).to_contain_text("pi/door camera offline")
    site.broker.stop()
    expect(page.locator("body")).to_have_attribute("data-link", "no broker")
    expect(page.locator("#troubles")).to_contain_text("broker no connection")
    site.broker.start()
    expect(page.locator("body")).to_have_attribute("data-link", "live")
    expect(page.locator("#troubles")).to_contain_text("pi/door camera offline")
    assert said.complaints == []


@pytest.mark.parametrize("width, height", [(1280, 800), (820, 1180), (390, 844), (320, 568)])
def test_nothing_is_wider_than_the_screen(page: Page, site: Site, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    site.appear("a-camera-with-a-rather-long-name")
    opened(page, site)
    site.say(1, "word " * 60 + "x" * 300, camera="a-camera-with-a-rather-long-name")
    site.say(1, "", camera="a-camera-with-a-rather-long-name", trigger="a-trigger" * 6)
    expect(page.locator("#lines .marks b")).to_have_count(1)
    expect(page.locator("#trigger")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_motion_is_left_out_where_it_is_not_wanted(browser: Browser, site: Site) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = opened(context.new_page(), site)
    site.say(1, "one")
    site.say(1, "two", update=True)
    expect(page.locator("#lines .text")).to_have_text(["two"])
    style = "getComputedStyle(document.querySelector('#lines li')).animationName"
    assert page.evaluate(style) == "none"
    context.close()


def cpu_s(pid: int) -> float:
    """Processor seconds of a process, user and system (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.timeout(180)
def test_a_thousand_messages_a_minute(page: Page, said: Said, site: Site) -> None:
    """For half a minute, every tenth of them a refinement; then a burst of a thousand at once."""
    site.appear("door")
    opened(page, site)
    measure = page.context.new_cdp_session(page)
    measure.send("Performance.enable")
    edge_began, began = cpu_s(site.edge.pid), time.monotonic()
    count = 0
    while (elapsed_s := time.monotonic() - began) < 30:
        while count < elapsed_s * 1000 / 60:
            refines = count % 10 == 9
            site.say(count - refines, f"caption {count}", update=refines)
            count += 1
        page.wait_for_timeout(50)
    last = count - 1
    expect(page.get_by_text(f"caption {last}", exact=True).first).to_be_visible()
    edge_s, elapsed_s = cpu_s(site.edge.pid) - edge_began, time.monotonic() - began
    heap_before = heap(measure)
    for number in range(10_000, 11_000):
        site.say(number, f"burst {number}", qos=0)
        if number % 100 == 99:
            page.wait_for_timeout(20)
    expect(page.get_by_text("burst 10999", exact=True).first).to_be_visible()
    assert page.locator("#lines li").count() <= 200
    heap_after = heap(measure)
    print(  # noqa: T201 - figures for docs/dashboard.md, by -s
        f"\nedge process: {100 * edge_s / elapsed_s:.1f}% of one core at "
        f"{60 * count / elapsed_s:.0f} messages a minute; "
        f"JavaScript heap {heap_before / 1e6:.1f} MB, {heap_after / 1e6:.1f} MB after the burst"
    )
    assert edge_s / elapsed_s < 0.5
    assert heap_after < 50e6
    assert said.complaints == []


def heap(measure: CDPSession) -> float:
    """Bytes of JavaScript objects in use, after what is garbage has been taken away."""
    measure.send("HeapProfiler.collectGarbage")
    metrics = measure.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "JSHeapUsedSize"))
