"""The command line: ``python -m t2v tasks | embed | distance | rank | choose | atlas``.

Exit status: 0 done; 2 bad arguments (one line says what is accepted); 1 a failed run, 130 one that was interrupted (what is
done is kept).
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

# Idle threads that spin slow a shared machine to a crawl; both must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from t2v._files import file_name, table, write_text

if TYPE_CHECKING:
    from t2v.choose import Candidate, Choice, TaskCandidate
    from t2v.embedding import TaskEmbedding
    from t2v.probes import Probe
    from t2v.tasks import Task
    from t2v.transfer import Ranked

TASK_HELP = (
    "an offline name (see 'tasks'), torchvision:NAME or torchvision:NAME/GROUP, or a path to an image folder"
)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as the other bad arguments do."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


class BadArgumentError(Exception):
    """An argument that the run cannot accept: exit status 2."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except (BadArgumentError, ValueError) as error:
        print(f"t2v {args.command}: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadArgumentError) else 1
    except KeyboardInterrupt:
        print(f"t2v {args.command}: interrupted; what is done is kept", file=sys.stderr)
        return 130
    except (RuntimeError, OSError) as error:
        print(f"t2v {args.command}: failed: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m t2v", description="Embed tasks, compare them, rank sources for transfer."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    tasks = commands.add_parser("tasks", help="list the offline tasks")
    tasks.add_argument("--sheet", type=Path, metavar="PNG", help="also draw a picture sheet of all tasks")
    tasks.set_defaults(run=run_tasks)

    embed = commands.add_parser("embed", help="embed tasks, one .npz file each")
    embed.add_argument("tasks", nargs="+", metavar="TASK", help=TASK_HELP)
    embed.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where the files go; those there are kept"
    )
    _embedding_options(embed)
    embed.set_defaults(run=run_embed)

    distance = commands.add_parser("distance", help="distances between the embeddings in a folder")
    distance.add_argument("dir", type=Path, metavar="DIR", help="a folder of .npz files that 'embed' wrote")
    distance.add_argument(
        "--metric",
        default="symmetric",
        help="symmetric (default), cosine, log_cosine, jensen_shannon, gaussian_kl or gaussian_js",
    )
    distance.add_argument("--csv", type=Path, metavar="FILE", help="also write the matrix")
    distance.set_defaults(run=run_distance)

    rank = commands.add_parser("rank", help="rank source tasks for a target, best first")
    rank.add_argument("--target", required=True, metavar="TASK", help=TASK_HELP)
    rank.add_argument("--sources", required=True, nargs="+", metavar="TASK", help="as --target, one or more")
    rank.add_argument(
        "--alpha", type=float, default=0.15, help="weight of the distance to t0 (default: 0.15)"
    )
    rank.add_argument(
        "--reference",
        choices=("trivial", "canonical"),
        default="trivial",
        help="t0 (default: trivial, Task2Vec's)",
    )
    rank.add_argument(
        "--figure", type=Path, metavar="PNG", help="also draw the ranking, with pictures of the tasks"
    )
    rank.add_argument("--json", type=Path, metavar="FILE", help="also write the ranking")
    rank.add_argument(
        "--noise",
        type=int,
        default=5,
        metavar="N",
        help="embed the target and the first N sources with a second seed, to say which are ties (default: 5; 0: none)",
    )
    rank.add_argument(
        "--out", type=Path, metavar="DIR", help="keep the embeddings here, and reuse those there"
    )
    _embedding_options(rank)
    rank.set_defaults(run=run_rank)

    help_choose = "which trained network to start from, or which task to train one on"
    _choose_options(commands.add_parser("choose", help=help_choose))

    atlas = commands.add_parser("atlas", help="measure real transfer, and compare it with every prediction")
    _atlas_options(atlas)
    atlas.set_defaults(run=run_atlas)
    return parser


def _choose_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", required=True, metavar="TASK", help=TASK_HELP)
    parser.add_argument(
        "--from",
        dest="sources",
        required=True,
        nargs="+",
        metavar="SPEC",
        help="expert files, folders of atlas runs and timm names; or else tasks, as --target",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the ranking and the advice")
    _embedding_options(parser)
    parser.set_defaults(run=run_choose, out=None)


def _atlas_options(parser: argparse.ArgumentParser) -> None:
    """Options that are not given keep the scale's values."""
    parser.add_argument("--scale", choices=("quick", "full"), default="quick", help="default: quick")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="the run's folder; what is there is kept, and what is new (a task, draws) is added",
    )
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help=f"{TASK_HELP} (default: the scale's)")
    parser.add_argument(
        "--library", metavar="PATH", help="a folder of image folders; --tasks then names sub-folders (all)"
    )
    parser.add_argument("--probe", metavar="NAME")
    for name, what in (
        ("size", "side of the images in pixels"),
        ("train", "training images a task"),
        ("test", "test images a task"),
        ("shots", "images a class for the measured transfer"),
        ("seeds", "draws of the shots"),
        ("epochs", "passes of the fine-tuning"),
        ("seed", "of everything else that is random"),
    ):
        parser.add_argument(f"--{name}", type=int, help=what)
    parser.add_argument("--alpha", type=float, help="weight of the distance to t0")
    parser.add_argument(
        "--truth",
        help="what a transfer is measured by: head (default), or finetune (all weights: many times slower)",
    )
    parser.add_argument(
        "--finetune-epochs", type=int, help="passes of the fine-tuning on the shots (default: 12)"
    )
    parser.add_argument(
        "--finetune-lr",
        type=float,
        help="its learning rate (default: chosen for each target by cross-validation)",
    )
    parser.add_argument("--method", help="of the embedding: rademacher, sample, exact or variational")
    parser.add_argument("--arithmetic", help="of the embedding: float32, tf32 or bfloat16")
    parser.add_argument("--device", help="auto, cpu, cuda, …")
    parser.add_argument("--root", metavar="DIR", help="torchvision's files (default: data)")
    parser.add_argument("--download", action="store_true", help="let torchvision download its files")


def _embedding_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--probe", default="efficientnet_lite0", metavar="NAME", help="default: efficientnet_lite0 (offline)"
    )
    parser.add_argument(
        "--method",
        default="rademacher",
        help="rademacher, sample, exact or variational (default: rademacher)",
    )
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels (default: 64)")
    parser.add_argument(
        "--train", type=int, default=600, help="training images a task, of a folder at most (default: 600)"
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="go on past pictures of a folder that cannot be read, and list them",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, … (default: auto)")
    parser.add_argument(
        "--root", type=Path, default=Path("data"), metavar="DIR", help="torchvision's files (default: data)"
    )
    parser.add_argument("--download", action="store_true", help="let torchvision download its files")


# ---------------------------------------------------------------------------------------------------------------------
# Commands


def run_tasks(args: argparse.Namespace) -> None:
    """List the offline tasks, family by family."""
    from t2v import tasks

    for family in tasks.families():
        print(f"{family}:")
        print("  " + ", ".join(tasks.names(family=family)))
    print(f"{len(tasks.names())} tasks")
    if args.sheet:
        tasks.sheet().savefig(args.sheet, dpi=110)
        print(f"drawn: {args.sheet}")


def run_embed(args: argparse.Namespace) -> None:
    """Embed the named tasks into a folder."""
    opened = _opened(args.tasks, args)
    for embedding in _embedded(opened, _probe(args), args, args.out, args.seed):
        print(
            f"{embedding.task:24s} norm {embedding.norm:9.3g}   {embedding.metadata['n_classes']:3d} classes"
        )


def run_distance(args: argparse.Namespace) -> None:
    """Print each embedding's nearest neighbours, and write the matrix if asked."""
    from t2v import distance
    from t2v.embedding import TaskEmbedding

    if args.metric not in distance.METRICS:
        raise BadArgumentError(
            f"--metric: {args.metric!r} is unknown; accepted: {', '.join(distance.METRICS)}"
        )
    files = sorted(args.dir.glob("*.npz")) if args.dir.is_dir() else []
    if len(files) < 2:
        raise BadArgumentError(
            f"{args.dir}: at least two embeddings (.npz files that 'embed' wrote) are needed; {len(files)} found"
        )
    embeddings = [TaskEmbedding.load(file) for file in files]
    names = [e.task for e in embeddings]
    d = distance.matrix(embeddings, args.metric)
    width = max(map(len, names))
    print(f"{'task':{width}s}  nearest ({args.metric} distance)")
    for i, (name, row) in enumerate(zip(names, d, strict=True)):
        near = [f"{names[j]} {row[j]:.3f}" for j in row.argsort(kind="stable") if j != i][:3]
        print(f"{name:{width}s}  {', '.join(near)}")
    if args.csv:
        rows = ([name, *row] for name, row in zip(names, d, strict=True))
        write_text(args.csv, table(["task", *names], rows, digits=9))


def run_rank(args: argparse.Namespace) -> None:
    """Rank the sources for the target."""
    from t2v import transfer

    if not args.alpha >= 0 or args.alpha == float("inf"):
        raise BadArgumentError(f"--alpha: {args.alpha} is not a finite number ≥ 0")
    if args.target in args.sources or len(set(args.sources)) < len(args.sources):
        raise BadArgumentError("--sources: each source once, and not the target itself")
    if args.noise < 0 or args.noise == 1:
        raise BadArgumentError(f"--noise: {args.noise} is neither 0 nor at least 2 sources")
    opened, probe = _opened([args.target, *args.sources], args), _probe(args)
    target, *sources = _embedded(opened, probe, args, args.out, args.seed)
    reference = _canonical(probe, args) if args.reference == "canonical" else "trivial"
    ranking = transfer.rank(target, sources, reference, args.alpha)
    _print_ranking(args, target, ranking)
    found = _noise(args, probe, opened, ranking, reference)
    if args.figure:
        _draw(args.figure, opened, ranking)
    if args.json:
        result = {
            "target": target.task,
            "probe": target.probe,
            "alpha": args.alpha,
            "reference": args.reference,
            "ranking": [vars(row) for row in ranking],
            "noise": found,
        }
        write_text(args.json, json.dumps(result, indent=2) + "\n")


def _print_ranking(args: argparse.Namespace, target: TaskEmbedding, ranking: Sequence[Ranked]) -> None:
    width = max(len(row.source) for row in ranking)
    print(f"target {target.task}, probe {target.probe}, α = {args.alpha:g}, t0 = {args.reference}")
    print(f"{'':3s}  {'source':{width}s}  {'d_asym':>7s}  {'d_sym':>7s}  {'norm':>9s}")
    for k, row in enumerate(ranking, start=1):
        print(f"{k:3d}  {row.source:{width}s}  {row.d_asym:7.4f}  {row.d_sym:7.4f}  {row.norm:9.3g}")


def _noise(
    args: argparse.Namespace,
    probe: Probe,
    opened: Sequence[Task],
    ranking: Sequence[Ranked],
    reference: TaskEmbedding | str,
) -> dict[str, Any] | None:
    """Embed the target and the first sources once more, and print which sources are ties; None if it is not asked for."""
    from t2v import choose, transfer

    again = [row.source for row in ranking[: args.noise]]
    if len(again) < 2:
        return None
    target, *_ = tasks = [task for task in opened if task.name in again or task is opened[0]]
    out = args.out / f"seed{args.seed + 1}" if args.out else None
    own, *others = _embedded(tasks, probe, args, out, args.seed + 1)
    second = {row.source: row.d_asym for row in transfer.rank(own, others, reference, args.alpha)}
    noise = choose.noise({row.source: row.d_asym for row in ranking}, second)
    seconds = sum(e.metadata["seconds"] for e in (own, *others))
    close = (
        f"within noise of the first: {', '.join(noise.ties)}"
        if noise.ties
        else "none is within noise of the first"
    )
    print(
        f"differences of d_asym are uncertain by ±{noise.margin:.4f} (95 %; a second seed of {target.name} and"
        f" {len(again)} sources, {seconds:.0f} s); {close}"
    )
    return {**dataclasses.asdict(noise), "sources": again, "seconds": seconds}


def run_atlas(args: argparse.Namespace) -> None:
    """Make the full run, or go on with it, and print how well each method predicts, and where each target starts."""
    from t2v import atlas, probes

    changes = {
        k: v for k, v in vars(args).items() if k not in ("command", "run", "scale", "out") and v is not None
    }
    if args.tasks is not None:
        changes["tasks"] = tuple(args.tasks)
    if args.out.exists() and not args.out.is_dir():
        raise BadArgumentError(f"--out: {args.out} is a file; a folder is accepted")
    try:
        config = atlas.AtlasConfig.at(args.scale, **changes)
        atlas.check(config)
        probe = probes.load(config.probe)
    except ValueError as error:
        raise BadArgumentError(str(error)) from error
    made = atlas.run(config, args.out, probe=probe, progress=True)
    if os.environ.get("RANK", "0") == "0":
        print(made.text(), end="")


def run_choose(args: argparse.Namespace) -> None:
    """Choose among networks that are there, or among tasks to train one on."""
    from t2v import choose

    _check_options(args)
    probe = _probe(args)
    probe.to(_device(args.device))
    try:
        kinds = {choose.kind(spec) == "task" for spec in args.sources}
    except ValueError as error:
        raise BadArgumentError(str(error)) from error
    if len(kinds) > 1:
        raise BadArgumentError(
            "--from: either networks (experts, runs, timm names) or tasks are accepted, not both"
        )
    made: Choice[Any] = (_choose_task if kinds == {True} else _choose_network)(args, probe)
    print(made.advice)
    if args.json:
        write_text(args.json, json.dumps(dataclasses.asdict(made), indent=2) + "\n")


def _choose_network(args: argparse.Namespace, probe: Probe) -> Choice[Candidate]:
    from t2v import choose

    target = _open(args.target, args)
    try:
        networks, left_out = choose.open_networks(args.sources, probe, target.name)
        for line in left_out:
            print(line, file=sys.stderr)
        made = choose.choose(target, probe, networks, seed=args.seed)
    except (ValueError, FileNotFoundError) as error:
        raise BadArgumentError(str(error)) from error
    print(f"target {target.name}, {len(target.train)} images, {target.n_classes} classes, probe {probe.name}")
    print(
        _rows(
            ("source", "error", "95% interval", "LogME", "seconds", ""),
            [_network_cells(c) for c in made.ranking],
        )
    )
    return made


def _choose_task(args: argparse.Namespace, probe: Probe) -> Choice[TaskCandidate]:
    from t2v import choose

    target, *sources = opened = [_open(name, args) for name in [args.target, *args.sources]]
    _check_names([task.name for task in opened])
    try:
        made = choose.choose_task(target, probe, sources, seed=args.seed, device=args.device)
    except ValueError as error:
        raise BadArgumentError(str(error)) from error
    print(f"target {target.name}, {len(target.train)} images, {target.n_classes} classes, probe {probe.name}")
    print(
        _rows(
            ("source", "head", "95% interval", "d_asym", "seconds", ""),
            [_task_cells(c) for c in made.ranking],
        )
    )
    return made


def _network_cells(c: Candidate) -> tuple[str, ...]:
    close = "within noise" if c.within_noise else ""
    return (
        c.source,
        f"{c.error:.3f}",
        f"[{c.low:.3f}, {c.high:.3f}]",
        f"{c.logme:.4f}",
        f"{c.seconds:.1f}",
        close,
    )


def _task_cells(c: TaskCandidate) -> tuple[str, ...]:
    close = "within noise" if c.within_noise else ""
    return (
        c.source,
        f"{c.head:.3f}",
        f"[{c.low:.3f}, {c.high:.3f}]",
        f"{c.d_asym:.4f}",
        f"{c.seconds:.1f}",
        close,
    )


def _rows(head: tuple[str, ...], cells: Sequence[tuple[str, ...]]) -> str:
    """Return a table whose columns are straight: the first and the last to the left, the others to the right."""
    rows = [head, *cells]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        rest = (f"{cell:>{width}s}" for cell, width in zip(row[1:-1], widths[1:-1], strict=True))
        lines.append("  ".join([f"{row[0]:{widths[0]}s}", *rest, row[-1]]).rstrip())
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------------------------------
# Steps that the commands share


def _opened(names: Sequence[str], args: argparse.Namespace) -> list[Task]:
    """Open the named tasks, after a look at the options."""
    from t2v._progress import follow

    _check_options(args)
    loaded = [_open(name, args) for name in follow(names, "tasks")]
    _check_names([task.name for task in loaded])
    return loaded


def _embedded(
    opened: Sequence[Task], probe: Probe, args: argparse.Namespace, out: Path | None, seed: int
) -> list[TaskEmbedding]:
    """Embed tasks, and show how far it is; with ``out``, reuse and keep files there."""
    from t2v._progress import follow
    from t2v.embedding import TaskEmbedding, embed

    by_name = {task.name: task for task in opened}
    embeddings: list[TaskEmbedding] = []
    for name in follow(list(by_name), "embeddings"):
        task, file = by_name[name], out / f"{file_name(name)}.npz" if out else None
        if (
            file is not None
            and file.exists()
            and _same(found := TaskEmbedding.load(file), task, probe, args, seed)
        ):
            embeddings.append(found)
            continue
        made = embed(task, probe, method=args.method, seed=seed, device=args.device)
        if file is not None:
            made = dataclasses.replace(made, metadata={**made.metadata, "images": _fingerprint(task)})
            made.save(file)
        embeddings.append(made)
    return embeddings


def _same(found: TaskEmbedding, task: Task, probe: Probe, args: argparse.Namespace, seed: int) -> bool:
    """Whether a file holds the embedding that was asked for."""
    about = found.metadata
    wanted = {
        "method": args.method,
        "seed": seed,
        "image_size": args.size,
        "n_classes": len(task.classes),
        "images": _fingerprint(task),
    }
    same = all(about.get(key) == value for key, value in wanted.items())
    return same and found.task == task.name and found.probe == probe.name


def _fingerprint(task: Task) -> str:
    """Return a digest of the training images and labels: a folder may have changed since its embedding."""
    digest = hashlib.sha256(task.train.images.tobytes())
    digest.update(task.train.labels.tobytes())
    return digest.hexdigest()[:16]


def _check_names(names: Sequence[str]) -> None:
    """Refuse tasks that a table, or the files in --out, could not tell apart: two folders of one name, say."""
    for first, second in combinations(names, 2):
        if file_name(first) == file_name(second):
            raise BadArgumentError(
                f"tasks: {first!r} and {second!r} cannot be told apart; different names are accepted (rename a folder)"
            )


def _check_options(args: argparse.Namespace) -> None:
    from typing import get_args

    import torch

    from t2v.embedding import Method

    if args.method not in get_args(Method):
        raise BadArgumentError(
            f"--method: {args.method!r} is unknown; accepted: {', '.join(get_args(Method))}"
        )
    if args.size < 32:
        raise BadArgumentError(f"--size: {args.size} is too small for a probe; at least 32 is accepted")
    if args.train < 4:
        raise BadArgumentError(f"--train: {args.train} is too few; at least 4 is accepted")
    if args.out is not None and args.out.exists() and not args.out.is_dir():
        raise BadArgumentError(f"--out: {args.out} is a file; a folder is accepted")
    if args.device != "auto":
        try:
            torch.device(args.device)
        except RuntimeError as error:
            raise BadArgumentError(
                f"--device: {args.device!r} is unknown; accepted: auto, cpu, cuda, cuda:1, …"
            ) from error


def _open(text: str, args: argparse.Namespace) -> Task:
    """Open a task by its command-line name, and say on the error stream what was done with its pictures."""
    import warnings

    from t2v import tasks

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", tasks.TaskWarning)
        try:
            task = tasks.open_task(
                text,
                args.size,
                args.train,
                seed=args.seed,
                root=args.root,
                download=args.download,
                skip_bad=args.skip_bad,
            )
        except ValueError as error:
            more = " (--skip-bad goes on past it)" if "cannot read the image" in str(error) else ""
            raise BadArgumentError(f"task {text!r}: {error}{more}") from error
        finally:
            for warning in caught:
                print(f"t2v {args.command}: {warning.message}", file=sys.stderr)
    _check_classes(task)
    return task


def _check_classes(task: Task) -> None:
    """Refuse a class with one training image: half of each class fits the head, the other half is measured."""
    import numpy as np

    counts = np.bincount(task.train.labels, minlength=task.n_classes)
    if counts.min() < 2:
        raise BadArgumentError(
            f"task {task.name!r}: class {task.classes[counts.argmin()]!r} has {counts.min()} training image"
            f"{'' if counts.min() == 1 else 's'}; at least two are needed (--train, or more pictures of it)"
        )


def _probe(args: argparse.Namespace) -> Probe:
    from t2v import probes

    try:
        return probes.load(args.probe)
    except ValueError as error:
        raise BadArgumentError(str(error)) from error


def _device(name: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _canonical(probe: Probe, args: argparse.Namespace) -> TaskEmbedding:
    """Embed the probe's own task, on the photographs of the offline library."""
    from t2v.embedding import canonical, photographs

    images = photographs(args.size, args.seed)
    return canonical(probe, images, method=args.method, seed=args.seed, device=args.device)


def _draw(path: Path, tasks: Sequence[Task], ranking: Sequence[Ranked]) -> None:
    """Draw the ranking with a few images of each task."""
    import matplotlib.pyplot as plt

    from t2v import plots

    plots.use_style()
    opened = {task.name: task for task in tasks}
    target = next(iter(opened.values()))
    rows = [(row.source, opened[row.source].train.images, row.d_asym) for row in ranking]
    figure = plots.ranking((target.name, target.train.images), rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
