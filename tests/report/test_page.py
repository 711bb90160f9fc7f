"""The page as a reader meets it, in Chromium: what it shows, and what it asks of the network."""

import json

import pytest
from tests.report.conftest import HOSTILE, made_up

import steelyard as sy
from steelyard.readings import Readings, Run, RunStep
from steelyard.records import Change, Finding, Reading
from steelyard.report import write_page
from steelyard.selection import Changes

pytestmark = pytest.mark.no_keras


@pytest.fixture(scope="module")
def page(browser, readings, tmp_path_factory):
    """A page of weights with something wrong with them."""
    file = tmp_path_factory.mktemp("page") / "page.html"
    write_page(file, readings, catalog=sy.catalog())
    page = browser.open(file)
    yield page
    page.close()


@pytest.fixture(autouse=True)
def _as_it_was(request):
    if "page" in request.fixturenames:
        page = request.getfixturevalue("page")
        page.run("search.value = '', statuses.value = '', subset = null, refilter()")


def addresses(page):
    return page.texts("section[aria-label='All weights'] tbody th")


def names(page):
    return page.texts("section[aria-label='All weights'] thead th")


def head(page, name):
    place = names(page).index(name) + 1
    return f"section[aria-label='All weights'] thead th:nth-child({place}) button"


def settled(page):
    page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_it_loads_nothing_and_complains_of_nothing(page):
    assert len(page.asked_for) == 1 and page.asked_for[0].startswith("file:")
    assert page.complaints == []
    assert page.run("performance.getEntriesByType('resource').length") == 0


def test_it_could_load_nothing(page):
    # The page's own policy refuses what a mistake in it might let in.
    assert page.run("fetch('data:text/plain,x').then(() => 'loaded', () => 'refused')") == "refused"
    made = "Object.assign(document.createElement('script'), {textContent: 'hacked = 4'})"
    page.run(f"document.body.append({made})")
    assert page.run("typeof hacked") == "undefined"


def test_what_is_wrong_comes_first(page):
    main = page.run("[...document.querySelectorAll('main > *')].map((one) => one.tagName)")
    assert main[:2] == ["HEADER", "SECTION"]
    assert page.texts("#overview") == ["1 thing cannot be right, 3 things to look at."]
    levels, titles = page.texts(".alarms .level"), page.texts(".alarms strong")
    assert levels[:4] == ["Wrong", "Look", "Look", "Look"] and set(levels[4:]) == {"Note"}
    assert titles[0] == "Entries that are NaN or infinite"
    assert {"Dead units", "Rank collapse"} <= set(titles[1:4])
    places = page.texts(".alarms li:first-child .places button")
    assert places == ["broken/kernel"]


def test_hostile_names_are_text(page):
    shown = addresses(page)
    for name in HOSTILE[:2] + HOSTILE[3:]:
        assert name in shown
    assert "\\u2028\\u2029\\u202eevil\\ud800\\x00\\n/kernel" in shown
    assert page.run("typeof hacked") == "undefined"
    assert page.run("document.querySelectorAll('img, b, iframe, object').length") == 0


def test_a_filter(page):
    page.click("#filter")
    page.write("well")
    assert addresses(page) == ["well/kernel", "well/bias"]
    assert page.texts("#said") == ["2 weights of 9."]
    page.write(" l2_norm>0")
    assert addresses(page) == ["well/kernel"]
    page.write(" nothing>1")
    assert page.texts("#said") == ["The filter cannot be understood: there is no column nothing."]


def test_a_filter_by_status(page):
    page.run("statuses.value = 'not finite', statuses.dispatchEvent(new Event('change'))")
    assert addresses(page) == ["broken/kernel"]


def test_a_sort(page):
    button = head(page, "dead_units")
    sort = f"document.querySelector({json.dumps(button)}).parentNode.ariaSort"
    page.click(button)
    assert page.run(sort) == "descending"
    assert addresses(page)[0] == "dead/kernel"
    assert addresses(page)[-2:] == ["well/bias", "broken/kernel"]  # which have none
    page.click(button)
    assert page.run(sort) == "ascending"
    assert addresses(page)[-3:] == ["dead/kernel", "well/bias", "broken/kernel"]
    page.click(button)
    assert page.run(sort) == "none"
    assert addresses(page)[0] == "well/kernel"


def test_the_keyboard_reaches_the_table_and_sorts_it(page):
    page.run("document.querySelector('#filter').focus()")
    for _ in range(60):
        page.press("Tab", 9)
        if page.run("document.activeElement.closest('thead') !== null"):
            break
    assert page.run("document.activeElement.textContent") == "address"
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("Enter", 13, "\r")
    assert page.run("document.activeElement.parentNode.getAttribute('aria-sort')") == "ascending"
    assert addresses(page)[-2:] == ["well/bias", "well/kernel"]
    for _ in range(2):
        page.press("Enter", 13, "\r")


def test_the_keyboard_walks_through_the_heat_map(page):
    page.run("document.querySelector('.heat').focus()")
    page.press("Home", 36)
    assert page.texts(".closely h2") == ["well/kernel"]
    page.press("ArrowDown", 40)
    page.press("ArrowDown", 40)
    assert page.texts(".closely h2") == ["dead/kernel"]
    assert page.texts("tr[aria-current=true] th") == ["dead/kernel"]
    assert page.run("document.querySelector('#heat-option').getAttribute('aria-posinset')") == "3"


def test_a_click_on_the_heat_map_selects(page):
    page.run("scrollTo(0, 0)")
    x, y = page.run("(({x, y}) => [x, y])(document.querySelector('.heat').getBoundingClientRect())")
    page.click_at(x + 400, y + 104 + 15 * 4 + 7)
    assert page.texts(".closely h2") == ["flat/kernel"]


def test_the_spectrum_and_its_tail(page, readings):
    page.run("select(0)")
    drawn = len(page.texts("circle"))
    assert drawn == 100
    in_tail = len(page.texts("circle.tail"))
    assert in_tail == readings["well/kernel", "alpha_tail_size"].value
    assert len(page.texts("line.fit")) == 1
    label = page.run("document.querySelector('svg').getAttribute('aria-label')")
    assert "100 eigenvalues of well/kernel" in label and "alpha" in label
    page.run("select(1)")
    assert len(page.texts("svg")) == 0
    assert "No spectrum: a number of a matrix" in page.texts(".closely .help")[0]


def test_the_table_is_one_to_a_screen_reader(page):
    assert page.texts("table caption") == ["Weights"]
    assert page.run("document.querySelectorAll('thead th[scope=col][aria-sort]').length") == len(
        names(page)
    )
    assert page.run("document.querySelectorAll('tbody th[scope=row]').length") == 9
    unnamed = (
        "[...document.querySelectorAll('input, select, [role=listbox], [role=region], section')]"
        ".filter((one) => !one.labels?.length && !one.ariaLabel)"
        ".filter((one) => !one.getAttribute('aria-labelledby'))"
    )
    assert page.run(f"{unnamed}.length") == 0


def test_dark_and_print(page):
    paper = "getComputedStyle(document.body).backgroundColor"
    middle = "[...document.querySelector('canvas').getContext('2d').getImageData(2, 2, 1, 1).data]"
    page.ask(
        "Emulation.setEmulatedMedia", features=[dict(name="prefers-color-scheme", value="light")]
    )
    settled(page)
    light, light_map = page.run(paper), page.run(middle)
    page.ask(
        "Emulation.setEmulatedMedia", features=[dict(name="prefers-color-scheme", value="dark")]
    )
    settled(page)
    assert page.run(paper) != light
    assert sum(page.run(middle)[:3]) < 150 < sum(light_map[:3])
    dark = [dict(name="prefers-color-scheme", value="dark")]
    page.ask("Emulation.setEmulatedMedia", media="print", features=dark)
    settled(page)
    assert page.run(paper) == light
    assert page.run(middle) == light_map
    printed = page.ask("Page.printToPDF")["data"]
    assert len(printed) > 20_000
    page.ask("Emulation.setEmulatedMedia", media="", features=[])


def test_two_thousand_weights_stay_few_elements(browser, tmp_path):
    shapes = {f"block{i // 4}/layer{i % 4}/kernel": (64, 48) for i in range(2000)}
    file = tmp_path / "page.html"
    write_page(file, Readings(made_up(shapes)))
    page = browser.open(file)
    assert page.complaints == []
    assert page.run("document.querySelectorAll('*').length") < 3500
    assert page.run("document.querySelectorAll('svg').length") == 1
    assert page.texts(".where")[-1] == "Rows 1 to 100 of 2,000"
    page.click(".pager button:last-child")
    assert page.texts(".where")[-1] == "Rows 101 to 200 of 2,000"
    page.run("document.querySelector('.heat').focus()")
    page.press("End", 35)
    assert page.texts(".closely h2") == ["block499/layer3/kernel"]
    assert page.complaints == []
    page.close()


def test_readings_without_spectra_say_so(browser, readings, tmp_path):
    file = tmp_path / "page.html"
    readings.filter(metric=["alpha", "alpha_xmin", "l2_norm"]).to_html(file)
    page = browser.open(file)
    assert "singular values are not among these readings" in page.texts(".closely .help")[0]
    page.run("select(0)")
    assert page.texts(".closely dt") == ["l2_norm", "alpha", "alpha_xmin"]
    assert "dead units (needs dead_units)" in page.texts(".unchecked")[0]
    assert page.complaints == []
    page.close()


@pytest.fixture(scope="module")
def training(browser, tmp_path_factory):
    """A page of a training in which one weight became NaN."""

    def taken(i):
        late = Reading("b/kernel", "l2_norm", None, "w", "not finite", "1 NaN")
        yield Reading("a/kernel", "l2_norm", 1.0 + i, "w")
        yield late if i > 6 else Reading("b/kernel", "l2_norm", 2.0, "w")
        yield Reading("a/kernel", "update_ratio", 10.0**-i)

    steps = [RunStep(i, 0, i, tuple(taken(i)), {"loss": 1 / i}) for i in range(1, 10)]
    found = Finding("non-finite-weight", "b/kernel", "It has 1 NaN at step 7.", "Go back.", 7)
    run = Run(steps, [found], {"source": "Functional 'net'"})
    file = tmp_path_factory.mktemp("page") / "run.html"
    write_page(file, run.readings(), run=run)
    page = browser.open(file)
    yield page
    page.close()


def test_a_training_says_first_what_was_found(training):
    assert training.texts("h1") == ["Weights of Functional 'net'"]
    assert training.texts(".alarms strong")[0] == "non-finite-weight"
    assert training.texts(".closely h2") == ["b/kernel"]
    assert "9 steps measured, from 1 to 9, in epoch 1" in training.texts(".facts")[0]
    assert training.complaints == []


def test_the_curves_of_a_training(training):
    assert training.texts("section[aria-labelledby=training] .curve figcaption") == ["loss"]
    training.run("select(0)")
    shown = training.texts(".closely .curve figcaption")
    assert shown == ["l2_norm", "update_ratio (log axis)"]
    label = training.run("document.querySelector('.closely svg').getAttribute('aria-label')")
    assert label == "l2_norm: 2 at first, 10 at last, from 2 to 10"
    assert training.texts(".all-curves option") == ["l2_norm", "update_ratio"]
    assert "a/kernel is the colored one" in training.texts(".all-curves p")[0]
    drawn = "(one) => [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data]"
    canvas = "document.querySelector('.together')"
    assert training.run(f"({drawn})({canvas}).some((part) => part > 0)")


def test_a_curve_ends_where_its_numbers_end(training):
    training.run("select(1)")
    path = training.run("document.querySelector('.closely .line').getAttribute('d')")
    assert path.count("L") == 5  # six of nine steps
    gaps = training.run("document.querySelector('.closely .gaps').getAttribute('d')")
    assert gaps.count("M") == 3
    assert training.texts(".closely figcaption")[0] == "l2_norm (no finite number at 3 of 9 steps)"
    assert training.complaints == []


def test_differences_are_few_rows_and_leave_room_for_the_weights(browser, readings, tmp_path):
    changes = [Change(f"w{i}", "changed", f"w{i}", amount=float(i)) for i in range(30)]
    file = tmp_path / "page.html"
    names = ("before.keras", "after.keras")
    write_page(file, readings, changes=Changes(changes), names=names)
    page = browser.open(file)
    section = "section[aria-labelledby=differences]"
    assert page.texts(f"{section} p") == ["From before.keras to after.keras: 30 changed."]
    assert page.texts(f"{section} tbody th") == [f"w{i}" for i in range(29, 17, -1)]
    assert page.texts(f"{section} .where") == ["Rows 1 to 12 of 30"]
    page.click(f"{section} .pager button:last-child")
    assert page.texts(f"{section} .where") == ["Rows 13 to 24 of 30"]
    assert page.complaints == []
    page.close()
