"""Names and labels of public data sets whose files have numbers alone: from published lists, and from Wikidata.

A list gives each id its name; its content is checked against a known SHA-256. Names of YAGO are their own labels, those
of Wikidata get the labels that Wikidata has today (CC0), fifty names a request, with a pause between requests. What has
come is kept, so that a fetch that was cut off goes on.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pooch

import harness
from harness.data.formats.text import lines_of
from harness.data.formats.vocabularies import label_of
from harness.data.registry import SOURCES, Bounded, download, fetch_file
from harness.data.suspicions import spaced, visible
from harness.errors import UserError
from harness.scratch import write_atomically

API = "https://www.wikidata.org/w/api.php"
#: ids a request, the most that Wikidata takes from everybody
BATCH = 50
#: seconds between two requests, and tries of one
PAUSE, TRIES = 1.0, 5
#: labels that have come, a line each
KEPT = "labels.jsonl"
#: characters of a label, at most
_LONGEST = 500
Kind = Literal["entities", "relations"]


def fetch(name: str, *, labels: bool, report: Callable[[str], None]) -> Path:
    """Download a data set to the user's cache, with names and labels if they are asked for; return its folder.

    Args:
        name: of a public data set.
        labels: whether to write ``entities.tsv`` and ``relations.tsv``.
        report: gets a line now and then.

    Raises:
        UserError: something is not to be had, or is not what was published; what has come is kept.
    """
    folder = download(name)
    if labels:
        if not SOURCES[name].names:
            raise UserError(f"fetch {name} --labels: its files have names already; leave out --labels")
        names = {kind: _names(name, kind, folder) for kind in ("entities", "relations")}
        if SOURCES[name].names["labels"] == "wikidata":
            known = _from_wikidata([one for of_kind in names.values() for one in of_kind], folder / KEPT, report)
        else:
            known = {one: label_of(one) for one in names["entities"]} | {one: _words(one) for one in names["relations"]}
        for kind, of_kind in names.items():
            rows = [f"{k}\t{one}\t{known.get(one) or ''}\n" for k, one in enumerate(of_kind)]
            write_atomically(folder / f"{kind}.tsv", ("id\tname\tlabel\n" + "".join(rows)).encode())
    return folder


def _names(name: str, kind: str, folder: Path) -> list[str]:
    """The names of entities or relations by their ids."""
    source = SOURCES[name].names
    path = folder / f"{kind}-list"
    url = source[kind]
    try:
        pooch.retrieve(url, None, path.name, folder, downloader=fetch_file)
        by_id = _by_id(path)
        names = [by_id[k] for k in range(len(by_id))]
    except (OSError, KeyError, ValueError) as error:
        path.unlink(missing_ok=True)
        raise UserError(f"fetch {name} --labels: {url} cannot be read ({str(error)[:200]}); try again later") from None
    names = [f"<{one}>" for one in names] if source["labels"] == "names" else names
    if hashlib.sha256("\n".join(names).encode()).hexdigest() != source[f"{kind}_sha256"]:
        path.unlink()
        raise UserError(f"fetch {name} --labels: the names of {url} are not those with the known SHA-256")
    return names


def _by_id(path: Path) -> dict[int, str]:
    """A list of names: JSON of names by ids or ids by names, or lines of a name and its id."""
    text = path.read_text("utf-8")
    if not text.startswith("{"):
        fields = [line.split("\t") for _, line in lines_of(path)]
        return {int(position): name for name, position, *_ in fields}
    pairs: Mapping[str, Any] = json.loads(text)
    return (
        {int(v): k for k, v in pairs.items()}
        if all(isinstance(v, int) for v in pairs.values())
        else {int(k): str(v) for k, v in pairs.items()}
    )


def _words(relation: str) -> str:
    """The label of a relation of YAGO: ``<wasBornIn>`` is "was born in"."""
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", label_of(relation)).lower()


def _from_wikidata(names: list[str], kept: Path, report: Callable[[str], None]) -> dict[str, str]:
    """Labels by name, "" where Wikidata has none."""
    labels = _read_kept(kept)
    wanted = [name for name in names if name not in labels]
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        if start:
            time.sleep(PAUSE)
        new = dict(_labels(batch, _asked(batch)))
        with kept.open("a", encoding="utf-8") as file:
            file.write("".join(f"{json.dumps([name, new.get(name, '')])}\n" for name in batch))
        labels |= {name: new.get(name, "") for name in batch}
        if start // BATCH % 20 == 0:
            report(f"labels from Wikidata: {len(labels):,} of {len(names):,}")
    return labels


def _read_kept(path: Path) -> dict[str, str]:
    """What earlier fetches got; a line that was cut off does not count."""
    labels = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            name, label = json.loads(line)
        except ValueError:
            continue
        labels[str(name)] = str(label)
    return labels


def _asked(batch: list[str]) -> Mapping[str, Any]:
    """What Wikidata says of some names, after it was asked again where it was busy."""
    asked = {
        "action": "wbgetentities", "ids": "|".join(batch), "props": "labels", "languages": "en|mul",
        "format": "json", "formatversion": "2", "maxlag": "5",
    }  # fmt: skip
    headers = {"User-Agent": f"tkg-distill-harness/{harness.__version__} (research)", "Accept-Encoding": "identity"}
    reason = ""
    for _ in range(TRIES):
        buffer = io.BytesIO()
        wait = 5 * PAUSE
        try:
            pooch.HTTPDownloader(chunk_size=1 << 16, params=asked, headers=headers)(API, Bounded(buffer), None)
            content = json.loads(buffer.getvalue())
            if "error" not in content:
                return dict(content["entities"])
            reason = str(content["error"].get("code"))
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            after = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
            wait = min(float(after), 60 * PAUSE) if re.fullmatch("[0-9]{1,4}", after) else wait
        time.sleep(wait)
    raise UserError(
        f"{API}: does not answer ({reason}); what has come is kept, and the same command goes on from there"
    )


def _labels(batch: list[str], entities: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and their labels in English, or those that Wikidata has for all languages."""
    for key, entity in entities.items():
        # what was merged into another comes under its old name, or says it
        name = key if key in batch else entity.get("redirects", {}).get("from", key)
        labels = entity.get("labels") or {}
        label = next((labels[language]["value"] for language in ("en", "mul") if language in labels), "")
        yield name, spaced(visible("".join(c if c.isprintable() else " " for c in str(label))))[:_LONGEST]
