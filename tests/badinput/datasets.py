"""Broken data sets, looked at with ``python -m harness.data``."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Callable, Iterator

from tests.badinput.place import Case, Place

LINE = "ann\tlives in\tRome\t1990\t1995\n"
ENTITIES = "id\tname\tlabel\n0\tQ1\tRome\n1\tQ2\tOslo\n"
Build = Callable[[Place], object]
#: of a file; made when it is needed if it is large
Content = str | bytes | Callable[[], bytes]


def folder(**files: Content | None) -> Build:
    """A data set ``set``; splits that are not given have one good line, None leaves one out."""

    def build(place: Place) -> None:
        for split in ("train", "valid", "test", *files):
            content = files.get(split, LINE)
            name = split.replace("_", ".") if "_" in split else f"{split}.txt"
            if content is not None:
                place.write(f"set/{name}", content() if callable(content) else content)

    return build


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../outside/evil.txt", "0" * 10_000_000)
    return buffer.getvalue()


def special(make: Callable[[Place], object]) -> Build:
    def build(place: Place) -> None:
        folder()(place)
        make(place)

    return build


def replaced(name: str, make: Callable[[str], object]) -> Build:
    """The data set with something else in the place of one of its files."""

    def build(place: Place) -> None:
        folder()(place)
        path = place.work / "set" / name
        path.unlink(missing_ok=True)
        make(str(path))

    return build


def sparse(size: int) -> Callable[[str], object]:
    def make(path: str) -> None:
        with open(path, "wb") as file:
            file.truncate(size)

    return make


#: lines that are no facts, and what is said of them
LINES = {
    "a word": ("word", r"train\.txt, line 2: 1 column"),
    "three columns": ("a\tb\tc", r"line 2: 3 column"),
    "six columns": ("a\tb\tc\t1990\t1991\t1992", r"line 2: 6 column"),
    "a thousand columns": ("\t".join("a" * 1000), r"line 2: 1000 column"),
    "tabs alone": ("\t" * 4, r"line 2, column [1-5]: '' is no name"),
    "no head": ("\tr\tb\t1990\t", r"line 2, column 1: '' is no name"),
    "a word for a date": ("a\tr\tb\tsoon\t", r"line 2, column 4: 'soon' is not a date"),
    "NaN for a date": ("a\tr\tb\tnan\t", r"'nan' is not a date"),
    "infinity for a date": ("a\tr\tb\tinf\t", r"'inf' is not a date"),
    "a real number for a date": ("a\tr\tb\t1990.5\t", r"is not a date"),
    "a year of five digits": ("a\tr\tb\t12345\t", r"is not a date"),
    "a year of 5,000 digits": (f"a\tr\tb\t{'9' * 5000}\t", r"'9{40}' is not a date"),
    "an exponent for a year": ("a\tr\tb\t1e9\t", r"is not a date"),
    "Arabic digits": ("a\tr\tb\t١٩٩٠\t", r"is not a date"),
    "superscript digits": ("a\tr\tb\t19²0\t", r"is not a date"),
    "a time stamp": ("a\tr\tb\t1990-01-01T00:00:00\t", r"is not a date"),
    "a formula for a date": ("a\tr\tb\t=1+1\t", r"'=1\+1' is not a date"),
    "two signs": ("a\tr\tb\t--40\t", r"is not a date"),
    "spaces around a date": ("a\tr\tb\t 1990 \t", r"is not a date"),
    "an escape sequence": ("a\x1b[2J\tr\tb\t1990\t", r"line 2: contains a control character"),
    "a title of the terminal": ("a\x1b]0;evil\x07\tr\tb\t1990\t", r"line 2: contains a control character"),
    "a bell": ("a\a\tr\tb\t1990\t", r"line 2: contains a control character"),
    "a backspace": ("a\b\tr\tb\t1990\t", r"line 2: contains a control character"),
    "delete": ("a\x7f\tr\tb\t1990\t", r"line 2: contains a control character"),
    "C1 controls": ("a\x9b2J\tr\tb\t1990\t", r"line 2: contains a control character"),
    "a carriage return inside": ("a\rb\tr\tb\t1990\t", r"line 2: contains a control character"),
    "a form feed": ("a\f\tr\tb\t1990\t", r"line 2: contains a control character"),
    "a long name": (f"{'a' * 30_000}\tr\tb\t1990\t", r"line 2: is longer than 20,000 characters"),
    "a long line of tabs": ("\t" * 30_000, r"line 2"),
    "commas": ("a,r,b,1990,1991", r"line 2: 1 column"),
    "JSON": ('{"head": "a"}', r"line 2: 1 column"),
    "Python": ("__import__('os').mkdir('executed')", r"line 2: 1 column"),
}
#: files that are no text of facts
FILES: dict[str, tuple[Content, str]] = {
    "an empty file": (b"", r"train\.txt: is empty"),
    "line feeds alone": (b"\n" * 1000, r"train\.txt: is empty"),
    "a byte order mark alone": (b"\xef\xbb\xbf", r"train\.txt: is empty"),
    "NUL bytes": (b"\0" * 5000, r"is a binary file"),
    "a NUL at the end": (LINE.encode() * 3000 + b"\0", r"is a binary file"),
    "UTF-16": (LINE.encode("utf-16"), r"is a binary file"),
    "UTF-32": (LINE.encode("utf-32"), r"is a binary file"),
    "Latin-1": ((LINE * 2 + "é\tr\tb\t1990\t\n").encode("latin-1"), r"line 3: is not UTF-8"),
    "a lone continuation byte": (LINE.encode() + b"\x80\tr\tb\t1990\t\n", r"line 2: is not UTF-8"),
    "an overlong encoding": (LINE.encode() + b"\xc0\xaf\tr\tb\t1990\t\n", r"line 2: is not UTF-8"),
    "a surrogate": (LINE.encode() + b"\xed\xa0\x80\tr\tb\t1990\t\n", r"line 2: is not UTF-8"),
    "a sequence that is cut off": (LINE.encode() + b"\xe6\x9d", r"line 2: is not UTF-8"),
    "gzip": (gzip.compress(LINE.encode() * 100), r"is a binary file|is not UTF-8"),
    "a gzip bomb": (lambda: gzip.compress(b"0" * 50_000_000), r"is a binary file|is not UTF-8"),
    "a zip with a path": (zipped, r"is a binary file|is not UTF-8"),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"is a binary file"),
    "an ELF program": (b"\x7fELF\x02\x01\x01" + b"\0" * 9, r"is a binary file"),
    "a pickle": (b"cos\nmkdir\n(S'executed'\ntR.", r"line 1: 1 column"),
    "a pickle of protocol 4": (b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix", r"is a binary file|is not UTF-8"),
    "a parquet file": (b"PAR1\x15\0\x15\x10", r"is a binary file"),
    "HTML": ("<html><script>alert(1)</script></html>\n", r"line 1: 1 column"),
    "CR alone between lines": (LINE.replace("\n", "\r") * 3, r"line 1: contains a control character"),
    "a line of 40 MB": (lambda: b"a" * 40_000_000, r"line 1: is longer than 20,000 characters"),
    "2 MB of line feeds": (lambda: b"\n" * 2_000_000, r"is empty"),
    "mixed widths": (LINE + "a\tr\tb\t1990\n", r"line 2: 4 column\(s\) where 5, as above"),
    "days of no month": ("a\tr\tb\t2014-13-01\n" * 3, r"line 1, column 4: '2014-13-01' is not a day"),
    "day 30 of February": ("a\tr\tb\t2014-02-30\n" * 3, r"line 1, column 4: '2014-02-30' is not a day"),
    "year 0": ("a\tr\tb\t0000-01-01\n" * 3, r"is not a day of the calendar"),
    "a day of five digits": ("a\tr\tb\t2014-01-01\n" * 3 + "a\tr\tb\t2014-01-99999\n", r"2014-01-99999' is not a date"),
}
#: vocabularies that are none
VOCABULARIES: dict[str, tuple[str | bytes, str]] = {
    "no header": ("0\tQ1\tRome\n", r"entities\.tsv, line 1: the first line must be"),
    "an id twice": ("id\tname\tlabel\n0\tQ1\t\n0\tQ2\t\n", r"entities\.tsv, line 3: id '0' where 1"),
    "an id left out": ("id\tname\tlabel\n0\tQ1\t\n2\tQ2\t\n", r"entities\.tsv, line 3: id '2' where 1"),
    "a negative id": ("id\tname\tlabel\n-1\tQ1\t\n", r"id '-1' where 0"),
    "an id of 5,000 digits": (f"id\tname\tlabel\n{'1' * 5000}\tQ1\t\n", r"id '1{40}' where 0"),
    "NaN for an id": ("id\tname\tlabel\nnan\tQ1\t\n", r"id 'nan' where 0"),
    "a name twice": ("id\tname\tlabel\n0\tQ1\t\n1\tQ1\t\n", r"the name 'Q1' is also that of id 0"),
    "no names": ("id\tname\tlabel\n0\t\t\n", r"line 2: has no name"),
    "nothing listed": ("id\tname\tlabel\n", r"lists nothing"),
    "too few columns": ("id\tname\n0\tQ1\n", r"2 column\(s\) where 3"),
    "ids that facts do not have": (ENTITIES, r"train\.txt, line 1, column 1: 'ann' is not an id"),
    "binary": (b"\0\1\2", r"entities\.tsv: is a binary file"),
    "a label with an escape sequence": (ENTITIES + "2\tQ3\t\x1b[2J\n", r"line 4: contains a control character"),
    "a label of 30,000 letters": (ENTITIES + f"2\tQ3\t{'x' * 30_000}\n", r"line 4: is longer than"),
}


def cases() -> Iterator[Case]:
    """All of them."""
    check = ("data", "check", "./set")
    for name, (line, message) in LINES.items():
        yield Case(name, check, message, folder(train=f"{LINE}{line}\n"))
    for name, (content, message) in FILES.items():
        splits = {"valid": content, "test": content} if "2014" in message or "calendar" in message else {}
        yield Case(name, check, message, folder(train=content, **splits))
    for name in ("an empty file", "NUL bytes", "Latin-1", "HTML"):
        yield Case(f"{name} as test", check, FILES[name][1].replace("train", "test"), folder(test=FILES[name][0]))
    for name, (content, message) in VOCABULARIES.items():
        yield Case(f"vocabulary: {name}", check, message, folder(entities_tsv=content))
    for split in ("train", "valid", "test"):
        yield Case(f"no {split}", check, rf"no {split}\.txt", folder(**{split: None}))
    yield Case("no files at all", check, "no train.txt", lambda place: (place.work / "set").mkdir())
    yield Case("a folder for train", check, r"no train\.txt", replaced("train.txt", os.mkdir))
    yield Case("a pipe for train", check, r"no train\.txt", replaced("train.txt", os.mkfifo))
    yield Case("a folder for the vocabulary", check, r"entities\.tsv: .*no file", replaced("entities.tsv", os.mkdir))
    yield Case("a pipe for the vocabulary", check, r"entities\.tsv: .*no file", replaced("entities.tsv", os.mkfifo))
    yield Case(
        "a device for the vocabulary",
        check,
        r"entities\.tsv: .*no file",
        replaced("entities.tsv", lambda path: os.symlink("/dev/zero", path)),
    )
    yield Case("a device for train", check, "no train", replaced("train.txt", lambda p: os.symlink("/dev/zero", p)))
    yield Case("a link to itself", check, "no train", replaced("train.txt", lambda p: os.symlink("train.txt", p)))
    yield Case("a link to nothing", check, "no train", replaced("train.txt", lambda p: os.symlink("nothing", p)))
    yield Case(
        "20 GiB of nothing", check, r"train\.txt: is (larger|a binary)", replaced("train.txt", sparse(20 * 2**30))
    )
    yield Case("100 MiB of nothing", check, r"is a binary file", replaced("train.txt", sparse(100 * 2**20)))
    yield Case(
        "20 GiB of vocabulary",
        check,
        r"entities\.tsv: is (larger|a binary)",
        replaced("entities.tsv", sparse(20 * 2**30)),
    )
