"""What the summary page promises: true counts, hints and solutions told apart, one file that needs nothing else."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medattack_edu.course import summary as module
from medattack_edu.course.summary import OPEN, SOLUTION, SOLVED, WITH_HINTS, page, summarise, write

EXERCISES = [
    SimpleNamespace(name=name, title=f"To write `{name}` & more", lesson=lesson)
    for lesson, names in {"00": ["accuracy"], "03": ["fgs", "noise", "curve"]}.items()
    for name in names
]
EARLY, LATE = "2031-05-03T10:00:00+00:00", "2031-05-17T11:00:00+00:00"
KNOWN = {
    "exercises": {
        "accuracy": {"met": EARLY, "solved": EARLY, "hints": 2, "hints_when_solved": 0},
        "fgs": {"met": EARLY, "solved": LATE, "hints": 2, "hints_when_solved": 2, "solution": EARLY},
        "noise": {"met": LATE, "solution": LATE},
        "gone": {"solved": EARLY},
    },
    "quizzes": {"Why?": {"right_at_once": True, "right": True}, "How?": {"right_at_once": False, "right": True}},
    "lessons": {"00": {"seconds": 20, "last": EARLY}, "03": {"seconds": 3900, "last": LATE}},
}
NOTHING = {"exercises": {}, "quizzes": {}, "lessons": {}}


class Reader(HTMLParser):
    """Reads a page, and fails for a tag that is closed where it wasn't open."""

    VOID = {"meta"}
    DRAWN = {"circle", "path", "rect"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.spoken = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.spoken += [value for name, value in attributes if name == "aria-label"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in self.DRAWN
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture
def read():
    return lambda known=KNOWN, exercises=EXERCISES: Reader(page(summarise(known, exercises)))


def test_hints_before_the_solution_a_solution_that_was_run_and_what_is_open_are_told_apart(read):
    states = {exercise.name: exercise.state for exercise in summarise(KNOWN, EXERCISES).exercises}
    assert states == {"accuracy": SOLVED, "fgs": WITH_HINTS, "noise": SOLUTION, "curve": OPEN}
    text = read().text
    assert "2 exercises solved" in text and "2 of 4 1 without a hint" in text and "4 of 12 in the course" in text
    assert re.search(r"1[67] May 2031, with 2 hints, after its solution was run", text)
    assert "solution run, not solved" in text
    assert "lessons that this copy of the course doesn't have: 1." in text


def test_the_time_is_that_at_work_and_the_days_are_counted(read):
    assert summarise(KNOWN, EXERCISES).time == "1 h 05 min"
    text = read().text
    assert "1 of 3, 1 h 05 min" in text and "1 of 1, under a minute" in text
    assert "From 3 May 2031 to 17 May 2031, on 2 days" in text


def test_an_old_record_without_times_is_said_to_have_none(read):
    old = {"exercises": {"fgs": {"solved": EARLY, "hints": 1}}, "quizzes": {}}
    text = read(old).text
    assert "1 exercise solved" in text and "not counted" in text and "with 1 hint" in text


def test_an_empty_record_makes_a_page_too(read):
    text = read(NOTHING).text
    assert "0 exercises solved" in text and "Nothing has been checked yet." in text
    assert "0 exercises solved" in read(NOTHING, []).text


def test_all_solved_is_said(read):
    known = {"exercises": {exercise.name: {"solved": LATE} for exercise in EXERCISES}, "quizzes": {}}
    assert "All of it solved" in read(known).text


def test_the_page_says_what_it_does_not_attest(read):
    text = read().text
    assert "doesn't say who was at the keyboard" in text and "goes on with the course's reference" in text
    known = {"exercises": {"fgs": {"met": EARLY}, "noise": {"hints": 1}}, "quizzes": {}}
    assert read(known).text.count("the lesson went on with the reference") == 1


def test_the_page_asks_the_network_for_nothing_and_says_every_picture_in_words(read):
    reader = read()
    assert not {"script", "link", "img", "iframe", "a"} & {tag for tag, _ in reader.tags}
    assert not re.search(r"https?:|url\(|@import", page(summarise(KNOWN, EXERCISES)))
    pictures = [attributes for tag, attributes in reader.tags if tag == "svg"]
    assert pictures and all(attributes["role"] == "img" and attributes["aria-label"] for attributes in pictures)
    assert "lesson 03, 1 of 3 solved" in " ".join(reader.spoken)


def luminance(colour):
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    channels = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), channels, strict=True))


@pytest.mark.parametrize("colour", [module.INK, module.QUIET, module.BLUE, module.RED])
def test_every_colour_of_text_and_marks_reads_well_on_white(colour):
    assert 1.05 / (luminance(colour) + 0.05) >= 4.5, "WCAG 2.2, level AA"


DATES = st.datetimes(datetime(2000, 1, 2), datetime(2999, 1, 1), timezones=st.just(UTC)).map(datetime.isoformat)
HINTS = st.integers(0, 3)
ENTRIES = st.fixed_dictionaries(
    {}, optional={"met": DATES, "solved": DATES, "solution": DATES, "hints": HINTS, "hints_when_solved": HINTS}
)
LESSONS = st.dictionaries(st.sampled_from(["00", "03", "99"]), st.fixed_dictionaries({"seconds": st.floats(0, 1e9)}))


@settings(deadline=None)
@given(
    entries=st.dictionaries(st.sampled_from([exercise.name for exercise in EXERCISES] + ["<b>", ""]), ENTRIES),
    quizzes=st.dictionaries(st.text(), st.fixed_dictionaries({"right_at_once": st.booleans()})),
    lessons=LESSONS,
)
def test_whatever_is_recorded_the_counts_add_up_and_the_page_is_whole(entries, quizzes, lessons):
    summary = summarise({"exercises": entries, "quizzes": quizzes, "lessons": lessons}, EXERCISES)
    assert sum(map(summary.count, (SOLVED, WITH_HINTS, SOLUTION, OPEN))) == len(EXERCISES)
    solved = summary.count(SOLVED, WITH_HINTS)
    assert solved + summary.elsewhere == sum("solved" in entry for entry in entries.values())
    Reader(page(summary))


@settings(deadline=None)
@given(title=st.text(alphabet="<>&\"'`ab /"))
def test_no_title_breaks_the_page(title):
    Reader(page(summarise(KNOWN, [SimpleNamespace(name="fgs", title=title, lesson="03")])))


def test_a_summary_is_replaced_and_any_other_file_is_not(tmp_path):
    path = tmp_path / "new folder" / "summary.html"
    assert write(summarise(NOTHING, EXERCISES), path) == path
    write(summarise(KNOWN, EXERCISES), path)
    assert "2 exercises solved" in path.read_text(encoding="utf-8")
    notes = tmp_path / "notes.html"
    notes.write_text("my notes")
    with pytest.raises(ValueError, match="is no summary of this course"):
        write(summarise(KNOWN, EXERCISES), notes)
    assert notes.read_text() == "my notes"


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="can't be written to"):
        write(summarise(NOTHING, EXERCISES), tmp_path / "file" / "summary.html")
    with pytest.raises(ValueError, match="is a folder"):
        write(summarise(NOTHING, EXERCISES), tmp_path)


def test_lesson_00_opens_a_hint_itself_as_the_page_says():
    source = Path(module.__file__).parents[2] / "solutions" / "00_start_here.py"
    assert re.findall(r"^hint\(.+\)$", source.read_text(encoding="utf-8"), re.MULTILINE) == ['hint("accuracy")']
