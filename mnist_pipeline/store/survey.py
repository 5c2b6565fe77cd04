"""A survey of a workspace: what lies in it, what names it, and what nothing needs any more."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property

from mnist_pipeline.store.lineage import (
    DatasetRecord,
    Roots,
    dataset_of,
    dataset_record,
    outputs_of,
    roots_of,
)
from mnist_pipeline.store.objects import ObjectInfo, ObjectMissingError, Store
from mnist_pipeline.store.owner import Owner

AT_WORK = "at-work.json"
SHELVES = ("stages", "checkpoints", "runs", "quarantine", "datasets", "parts", "exams", "models")

Objects = Sequence[ObjectInfo]


@dataclasses.dataclass(frozen=True)
class Policy:
    """How much is kept beside what published versions need.

    Attributes:
        grace: nothing younger than this is removed.
        keep_runs: of so many runs, the newest, everything is kept.
    """

    grace: timedelta = timedelta(hours=24)
    keep_runs: int = 30


@dataclasses.dataclass(frozen=True)
class Leftover:
    """Something that nothing needs.

    Attributes:
        kind: `memos`, `runs`, `parts` …
        name: a part key, the id of a run …
        objects: it, in the order in which it is removed: records first.
        referrers: keys of objects that name it: while one of them exists, it stays.
        folder: its own folder, if it has one, which goes with it.
    """

    kind: str
    name: str
    objects: tuple[ObjectInfo, ...]
    referrers: tuple[str, ...] = ()
    folder: str = ""


@dataclasses.dataclass(frozen=True)
class Survey:
    """What lies in a workspace, and what of it is named.

    Attributes:
        shelves: all objects by the first word of their keys.
        horizon: what is younger stays.
        at_work: the runs that go on.
        kept_runs: the runs of which everything stays.
        roots: what the models name.
        memos: the keys that each memo names, by its own key; None where it cannot be read.
        datasets: what each data set names, by digest; None where it cannot be read.
    """

    store: Store
    shelves: Mapping[str, Objects]
    horizon: datetime
    at_work: tuple[str, ...]
    kept_runs: frozenset[str]
    roots: Roots
    memos: Mapping[str, frozenset[str] | None]
    datasets: Mapping[str, DatasetRecord | None]

    @classmethod
    def of(cls, store: Store, policy: Policy, now: datetime) -> Survey:
        """Looks at everything once.

        Raises:
            IntegrityError: a manifest, an exam record or a series is damaged.
        """
        # What names things is read after they were listed: what was published meanwhile counts.
        shelves = {shelf: store.list(shelf) for shelf in SHELVES}
        runs = _by_name(shelves["runs"])
        since = now - policy.grace
        signs = {run: began for run, own in runs.items() if (began := _sign(store, own, since))}
        horizon = min([since, *signs.values()])
        newest = sorted(runs, reverse=True)[: policy.keep_runs]
        young = [run for run, objects in runs.items() if _any_since(horizon, objects)]
        records = [_stem(info) for info in shelves["datasets"] if info.key.endswith(".json")]
        return cls(
            store=store,
            shelves=shelves,
            horizon=horizon,
            at_work=tuple(sorted(signs)),
            kept_runs=frozenset([*newest, *young, *signs]),
            roots=roots_of(store),
            memos={info.key: outputs_of(store, info.key) for info in shelves["stages"]},
            datasets={digest: dataset_record(store, digest) for digest in records},
        )

    @property
    def lost_datasets(self) -> list[str]:
        """Data sets that versions were made of, and whose records cannot be read any more."""
        return sorted(d for d in self.roots.datasets if self.datasets.get(d) is None)

    def leftovers(self) -> list[Leftover]:
        """Everything that nothing needs, in the order in which it is removed."""
        found = [
            *self._memos(),
            *self._checkpoints(),
            *self._runs("runs"),
            *self._runs("quarantine"),
        ]
        found += [*self._datasets(), *self._indexes(), *self._parts()]
        return [*found, *self._exams(), *self._claims()]

    def _young(self, objects: Iterable[ObjectInfo]) -> bool:
        return _any_since(self.horizon, objects)

    @cached_property
    def _naming(self) -> Mapping[str, Sequence[str]]:
        """The keys of the memos and records that name an object or a part."""
        naming: dict[str, list[str]] = defaultdict(list)
        for memo, keys in self.memos.items():
            for key in keys or ():
                naming[key].append(memo)
        for digest, record in self.datasets.items():
            for thing in record.things if record else ():
                naming[thing].append(_record(digest))
        return naming

    @cached_property
    def _held(self) -> frozenset[str]:
        """What memos name that somebody has made or used lately."""
        young = [info.key for info in self.shelves["stages"] if self._young([info])]
        return frozenset(key for memo in young for key in self.memos[memo] or ())

    def _memos(self) -> list[Leftover]:
        """Memos that nobody has used lately, and whose objects are gone or will not stay."""
        there = {info.key for shelf in self.shelves.values() for info in shelf}

        def stays(key: str) -> bool:
            shelf, _, rest = key.partition("/")
            kept = shelf != "runs" or rest.partition("/")[0] in self.kept_runs
            return (kept or key in self._held) and (key in there or shelf not in self.shelves)

        return [
            Leftover("memos", _stem(info), (info,))
            for info in self.shelves["stages"]
            if not self._young([info])
            and not (self.memos[info.key] and all(map(stays, self.memos[info.key] or ())))
        ]

    def _checkpoints(self) -> list[Leftover]:
        """What trainings left that nobody took up again."""
        return [
            Leftover("checkpoints", name, _records_first(objects), folder=f"checkpoints/{name}")
            for name, objects in _by_name(self.shelves["checkpoints"]).items()
            if not self._young(objects)
        ]

    def _runs(self, kind: str) -> list[Leftover]:
        """What old runs left."""
        found = []
        for run, objects in _by_name(self.shelves[kind]).items():
            if run not in self.kept_runs and not self._young(objects):
                gone = tuple(info for info in objects if not self._outlives(info, run))
                memos = {memo for info in gone for memo in self._named_by(info.key)}
                found.append(Leftover(kind, run, gone, tuple(memos), f"{kind}/{run}"))
        return [leftover for leftover in found if leftover.objects]

    def _outlives(self, info: ObjectInfo, run: str) -> bool:
        """Whether an object of an old run stays: somebody uses it, or it tells of a version."""
        tells = run in self.roots.runs and info.key.startswith(f"runs/{run}/stages/")
        return tells or info.key in self._held

    @cached_property
    def _kept_records(self) -> frozenset[str]:
        """The keys of the records of snapshots that stay."""
        young = [info.key for info in self.shelves["datasets"] if self._young([info])]
        seen = (dataset_of(self.store, run) for run in self.kept_runs)
        named = [*self.roots.datasets, *(digest for digest in seen if digest)]
        return frozenset([*map(_record, named), *young])

    def _datasets(self) -> list[Leftover]:
        """Records of snapshots that no version was made of and no kept run saw."""
        return [
            Leftover("datasets", _stem(info), (info,))
            for info in self.shelves["datasets"]
            if info.key.endswith(".json") and info.key not in self._kept_records
        ]

    def _indexes(self) -> list[Leftover]:
        """Indexes of no snapshot that stays."""
        return [
            Leftover("datasets", info.key.rpartition("/")[2], (info,), self._named_by(info.key))
            for info in self.shelves["datasets"]
            if info.key.endswith(".index.parquet") and self._is_orphan(info.key, [info])
        ]

    def _parts(self) -> list[Leftover]:
        """Parts of no snapshot that stays."""
        return [
            Leftover("parts", part, _records_first(objects), self._named_by(part), f"parts/{part}")
            for part, objects in _by_name(self.shelves["parts"]).items()
            if self._is_orphan(part, objects)
        ]

    def _is_orphan(self, thing: str, objects: Objects) -> bool:
        """Whether the key of an index or of a part is named by no snapshot that stays."""
        if self.lost_datasets or self._young(objects):
            return False
        return self._kept_records.isdisjoint(self._named_by(thing))

    def _named_by(self, thing: str) -> tuple[str, ...]:
        return tuple(self._naming.get(thing, ()))

    def _exams(self) -> list[Leftover]:
        """Exams that nobody was, is or has been offered to be judged on."""
        exams: dict[str, list[ObjectInfo]] = defaultdict(list)
        for info in self.shelves["exams"]:
            exams[_stem(info)].append(info)
        return [
            Leftover("exams", digest, _records_first(objects))
            for digest, objects in exams.items()
            if not self.roots.names_exam(digest) and not self._young(objects)
        ]

    def _claims(self) -> list[Leftover]:
        """Version numbers that were claimed by a run which never published."""
        versions: dict[tuple[str, str], list[ObjectInfo]] = defaultdict(list)
        for info in self.shelves["models"]:
            _, name, shelf, number, *_ = [*info.key.split("/"), "", ""]
            if shelf == "versions" and number.isdecimal():
                versions[name, number].append(info)
        found = []
        for (name, number), objects in versions.items():
            folder = f"models/{name}/versions/{number}"
            published = (name, int(number)) in self.roots.versions
            if published or self._young(objects) or self._is_being_made(folder):
                continue
            # The claim goes first: a publisher that awakes sees that it is not his any more.
            objects.sort(key=lambda info: not info.key.endswith("/claim.json"))
            manifest = (f"{folder}/manifest.json",)
            found.append(Leftover("claims", f"{name}@{number}", tuple(objects), manifest, folder))
        return found

    def _is_being_made(self, folder: str) -> bool:
        """Whether the process that claimed a version is seen alive."""
        owner = _owner(self.store, f"{folder}/claim.json")
        return owner is not None and owner.is_alive


def _record(dataset: str) -> str:
    return f"datasets/{dataset}.json"


def _sign(store: Store, run: Objects, since: datetime) -> datetime | None:
    """When a run began that is still at work; None if it is not."""
    sign = next((info for info in run if info.key.endswith(f"/{AT_WORK}")), None)
    if sign is None:
        return None
    owner = _owner(store, sign.key)
    alive = owner.is_alive if owner and owner.is_known else _any_since(since, run)
    return sign.modified if alive else None


def _owner(store: Store, key: str) -> Owner | None:
    try:
        return Owner.from_json(json.loads(store.get(key))["owner"])
    except (ObjectMissingError, ValueError, KeyError, TypeError):
        return None


def _any_since(moment: datetime, objects: Iterable[ObjectInfo]) -> bool:
    return any(info.modified >= moment for info in objects)


def _by_name(shelf: Objects) -> dict[str, list[ObjectInfo]]:
    """The objects of a shelf by the second word of their keys."""
    names: dict[str, list[ObjectInfo]] = defaultdict(list)
    for info in shelf:
        names[info.key.split("/")[1]].append(info)
    return names


def _stem(info: ObjectInfo) -> str:
    return info.key.rpartition("/")[2].partition(".")[0]


def _records_first(objects: Objects) -> tuple[ObjectInfo, ...]:
    return tuple(sorted(objects, key=lambda info: not info.key.endswith(".json")))
