"""Model bundles: all that a prediction needs in one folder or zip, so that a model can leave its project.

The layout is that of docs/bundles.md. What is loaded is data: numbers, text and the names of classes that are
here already. Nothing of a bundle is run.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from core.atomic import sha256_file, whole_file, whole_folder, write_whole
from core.checksums import write_checksums
from core.errors import StrataError
from core.params import Extract, Fit, Params
from core.source import LOCK
from heads.base import class_path, read_facts
from heads.calibration_files import read_calibration, write_calibration
from heads.on_log import OnLog
from heads.registry import load_head, of_this_project
from heads.summarised import summarised_domain, summarised_intervals
from zoo.bundle_card import readme
from zoo.bundle_config import Config, MemberFacts, blocks_of, described, read_config
from zoo.bundle_files import CONFIG, MODELS, NETWORK, README, check, opened
from zoo.bundle_sources import check_here, licences, with_own_inside
from zoo.golden import check_golden, textbook_crystals, write_golden
from zoo.model import NETWORK as OWN_NETWORK
from zoo.model import Member, Model
from zoo.own_network import load_network

# Heads of this project that keep no row of the training part, neither as a vector nor as a value.
_KEEP_NOTHING = (
    "heads.mean.Mean",
    "heads.ridge.Ridge",
    "heads.mlp.MLP",
    "heads.lightgbm.LightGBM",
    "heads.lightgbm_classes.LightGBMClassifier",
    "heads.nn17.NN17",
    "heads.logistic.Logistic",
    "heads.classifier.Frequencies",
)
_SKLEARN = ("heads.sklearn_head.SklearnHead", "heads.classifier.SklearnClassifier")
_OF_SKLEARN = ("sklearn.linear_model.", "sklearn.neural_network.")
_PACKED = (".safetensors", ".keras", ".skops")  # gain nothing by compression


def save_bundle(
    model: Model,
    target: str | Path,
    *,
    without_data: bool = False,
    force: bool = False,
    name: str | None = None,
) -> Path:
    """Write a model as a bundle: a folder, or a `.zip` where the target ends so. Whole or not at all.

    without_data: no ids, formulas, values or vectors of training rows go into it; predictions then name no
    nearest entries, and all intervals are equally wide. force: replaces a bundle that is there. name: how the
    model card says it is loaded; by default by the target's own name.

    The bundle is loaded once, and its predictions compared, before it has its name. Raises `StrataError` for
    a target that is there and, `without_data`, for a head that keeps training rows.
    """
    target = Path(target).absolute()
    check_target(target, force)
    if without_data:
        model = _without_data(model)
    if target.suffix != ".zip":
        with whole_folder(target) as new:
            _fill(new, model, name or target.name, without_data)
        return target
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "bundle"
        folder.mkdir()
        _fill(folder, model, name or target.name, without_data)
        with whole_file(target) as temporary:
            _zip(folder, temporary)
    return target


def load_bundle(
    path: str | Path, settings: Extract | None = None, *, trust: Sequence[str] = (), check: bool = True
) -> Model:
    """Load a bundle from its folder or zip.

    settings: how source models are run here. trust: import paths of head classes of one's own that it may
    use. check: predict its golden structures, and compare. Raises `StrataError` naming the file and what is
    wrong with it. Nothing that a bundle brings is run.
    """
    folder = opened(Path(path))
    config = read_config(folder)
    settings = (settings or Extract()).model_copy(update={"precision": config.precision})
    sources = config.reads(folder / MODELS)
    _check_folders(folder, config)
    check_here(config, sources, settings)
    network = load_network(folder / NETWORK) if OWN_NETWORK in sources else None
    if network is not None and (
        config.card.property not in network.names
        or tuple(network.checkpoints) != sources[OWN_NETWORK].checkpoints
    ):
        raise StrataError(f"{folder / NETWORK} is not the network that {CONFIG} describes")
    model = Model(
        card=config.model_card(),
        sources=sources,
        members=tuple(
            Member(_head(folder, one, trust), blocks_of(one, sources), one.weight, one.name)
            for one in config.members
        ),
        calibration=read_calibration(
            folder,
            {name: reads.width for name, reads in sources.items()},
            config.seen_errors(),
            classes=len(config.card.classes),
            with_data=config.with_data,
            log=config.transform is not None,
        ),
        network=network,
        settings=settings,
        limits=config.limits,
    )
    if check:
        check_golden(folder, model, config.environment)
    return model


def bundle_sha256(path: str | Path) -> str:
    """Check the files of a bundle, and return the SHA-256 of the list of their hashes: its name."""
    return sha256_file(opened(Path(path)) / LOCK)


def check_target(target: Path, force: bool) -> None:
    """Raise `StrataError` where a bundle may not be written: only another bundle is replaced, by `force`."""
    if not target.exists() and not target.is_symlink():
        return
    if target.suffix == ".zip" and target.is_file():
        replaceable = True
    else:
        replaceable = target.is_dir() and (
            not any(target.iterdir()) or all((target / name).is_file() for name in (CONFIG, LOCK, README))
        )
    if not replaceable:
        raise StrataError(f"{target} is there and is no bundle; name a folder or .zip that is not there yet")
    if not force and not (target.is_dir() and not any(target.iterdir())):
        raise StrataError(f"{target} is there already; name another, or replace it with --force")


def _fill(folder: Path, model: Model, name: str, without_data: bool) -> None:
    """Write all files into an empty folder, then load them."""
    model, hashes = with_own_inside(model, folder / MODELS)
    for i, member in enumerate(model.members):
        head: Any = member.head
        head.save(folder / "heads" / str(i))
    paths = [read_facts(folder / "heads" / str(i))["class"] for i in range(len(model.members))]
    if model.network is not None:
        (folder / NETWORK).mkdir()
        model.network.save(folder / NETWORK)
        write_checksums(folder / NETWORK)
    config = described(model, hashes, paths, not without_data)
    write_whole(folder / CONFIG, config.model_dump_json(indent=1) + "\n")
    write_calibration(folder, model.calibration)
    write_golden(folder, model, model.examples)
    write_whole(folder / README, readme(model, config, licences(model), name))
    write_checksums(folder)
    check(folder)
    load_bundle(folder, model.settings, trust=[path for path in paths if path not in of_this_project()])


def _without_data(model: Model) -> Model:
    for member in model.members:
        _check_keeps_nothing(member)
    given = model.calibration
    intervals = None if given.intervals is None else summarised_intervals(given.intervals)
    kept = replace(given, domain=summarised_domain(given.domain), intervals=intervals, rows=())
    return replace(model, calibration=kept, examples=textbook_crystals(sorted(given.domain.elements)))


def _check_keeps_nothing(member: Member) -> None:
    head: Any = member.head.head if isinstance(member.head, OnLog) else member.head
    path = class_path(type(head))
    of_sklearn = path in _SKLEARN and str(head.estimator.get("class", "")).startswith(_OF_SKLEARN)
    if path not in _KEEP_NOTHING and not of_sklearn:
        raise StrataError(
            f"{member.name or path} may keep vectors or values of training rows in itself (support vectors, "
            "leaves, neighbours), so that it cannot leave without data. Fit with heads that keep none, such "
            "as fit.heads: [mean, ridge, mlp, lightgbm] with fit.composition: null, or publish it with its "
            "data"
        )


def _zip(folder: Path, target: Path) -> None:
    """Pack a folder; the same files make the same zip."""
    with ZipFile(target, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = ZipInfo(path.relative_to(folder).as_posix())
            member.compress_type = ZIP_STORED if path.suffix in _PACKED else ZIP_DEFLATED
            member.external_attr = 0o100644 << 16
            with path.open("rb") as file, archive.open(member, "w", force_zip64=True) as packed:
                while piece := file.read(2**20):
                    packed.write(piece)


def _head(folder: Path, member: MemberFacts, trust: Sequence[str]) -> Any:
    place = folder / "heads" / str(member.head)
    path = read_facts(place)["class"]
    if path != member.cls:
        raise StrataError(f"{place} holds a {path}, {CONFIG} says {member.cls}; the bundle was made up")
    if path not in of_this_project() and path not in trust:
        raise StrataError(
            f"{place} is a head of the class {path}, which is not this project's. If you know and trust that "
            f"class, and have it here, say so: trust=[{path!r}] in Python, --trust {path} on the command line"
        )
    return load_head(place, Params(fit=Fit(heads=(path,))))


def _check_folders(folder: Path, config: Config) -> None:
    """Raise `StrataError` where heads and source models are not those that the config names."""
    heads = {path.name for path in (folder / "heads").glob("*")}
    named = {str(member.head) for member in config.members}
    if heads != named:
        raise StrataError(
            f"{folder / CONFIG} names the heads {', '.join(sorted(named)) or 'none'}, the folder heads has "
            f"{', '.join(sorted(heads)) or 'none'}"
        )
    inside = {one.name for one in config.sources if one.inside}
    for path in (folder / MODELS).glob("*"):
        if not any(path.stem == name or path.name.startswith(f"{name}.") for name in inside):
            raise StrataError(f"{path} is of no source model that {CONFIG} says the bundle brings")
    if (folder / NETWORK).is_dir() and not any(one.name == OWN_NETWORK for one in config.sources):
        raise StrataError(f"{folder / NETWORK} is there, and {CONFIG} names no network")
