# %% [markdown]
# # Final project: which network to start from?
#
# You have a task, a folder of labelled images, and several places to start from. Rank them with Task2Vec **before** you fine-tune
# from any of them, then measure, and report how good the ranking was. Alone or in pairs, about 25 hours of work; the rubric is on the page
# *In a course* of the book. Hand in this notebook, run from top to bottom, and a report of at most four pages.
#
# The notebook runs as it stands, in about a minute or two, on small stand-ins: tasks of the package, written to folders. It is a skeleton, not an
# answer: the sizes are too small, there is one target and one seed, and two sources are no ranking.

# %%
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from t2v import distance, embedding, probes, tasks, transfer

SMALL = True  # False: the size of your project
TRAIN, TEST, SIZE, EPOCHS, SEEDS = (80, 80, 32, 1, [0]) if SMALL else (600, 400, 96, 4, [0, 1, 2])

# %% [markdown]
# ## 1. Your tasks
#
# Each task is a folder with one sub-folder a class. Replace the stand-ins by your own: one target and at least five sources, two of
# which you expect to be near and two far. Say where the images come from, their licences, and the classes and images in each. Write down **now**
# which source you think will be best.


# %%
def stand_in(name, root):
    """Write a task of the package as a folder of images, one sub-folder a class."""
    task = tasks.load(name, size=SIZE, train=TRAIN, test=TEST)
    for part in (task.train, task.test):
        for i, (image, label) in enumerate(zip(part.images, part.labels, strict=True)):
            folder = root / name / f"{label:02d}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{part is task.test:d}-{i:04d}.png")
    return root / name


root = Path(tempfile.mkdtemp())
folders = {name: stand_in(name, root) for name in ("digits", "mnist", "arrows")}
target_name = "digits"
loaded = {
    name: tasks.from_folder(path, size=SIZE, train=TRAIN, test=TEST, name=name)
    for name, path in folders.items()
}
target, sources = loaded[target_name], {name: t for name, t in loaded.items() if name != target_name}

# %% [markdown]
# *Your data, and your guess:*
#
# ### BEGIN SOLUTION
# Sources with links and licences; classes balanced or the imbalance stated; no image, and no object, in two tasks or in both training and test.
# A guess with a reason, written before the ranking.
# ### END SOLUTION

# %% [markdown]
# ## 2. Embeddings and ranking

# %%
probe = probes.load()
embedded = {name: embedding.embed(task, probe, seed=0) for name, task in loaded.items()}
ranking = transfer.rank(embedded[target_name], [embedded[name] for name in sources])
for row in ranking:
    print(f"{row.source:10s} d_asym {row.d_asym:.3f}  d_sym {row.d_sym:.3f}")

# %% [markdown]
# Embed everything with a second seed. How large is the distance of a task to itself against the distances in the ranking? Is the
# difference between your first and second source above this floor? How much does the ranking change with $\alpha$?
#
# ### BEGIN SOLUTION
# The noise floor over all tasks; the turning α of neighbours in the ranking (problem 9.4); the verdict "not to be told apart" where it applies.
# ### END SOLUTION

# %% [markdown]
# ## 3. Measured transfer
#
# Two or three experts at least: fine-tune the probe on a source, then fit a head for the target on the expert's features. The baseline is the
# same head on the probe itself.


# %%
def target_error(start, task):
    """Test error of a linear head on a network's features, fitted on the task's training images."""
    head = embedding.fit_head(start.features(task.train.images), task.train.labels, len(task.classes))
    weight, bias = head.weight.numpy(), head.bias.numpy()
    scores = start.features(task.test.images) @ weight.T + bias
    return float(np.mean(scores.argmax(axis=1) != task.test.labels))


plain = target_error(probe, target)
errors, experts = {name: [] for name in sources}, {}
for name, task in sources.items():
    for seed in SEEDS:
        experts[name] = transfer.finetune(probe, task, epochs=EPOCHS, seed=seed, device="cpu")
        errors[name].append(target_error(experts[name], target))
for name, values in errors.items():
    print(
        f"{name:10s} error {np.mean(values):.3f}  gain against the probe {transfer.gain(np.mean(values), plain):+.2f}"
    )

# %% [markdown]
# Fine-tune *all* weights on the target as well, with few images: does the order stay? Report every gain with a standard error over seeds, paired
# as in problem 10.5.
#
# ### BEGIN SOLUTION
# Three seeds or more; splits that all methods share; the step size chosen on a validation set, not on the test set; negative transfer reported as such.
# ### END SOLUTION

# %% [markdown]
# ## 4. Baselines
#
# A ranking is worth what it adds to cheaper ones: LEEP and LogME, the plain distance of mean features, "always the probe", "the largest source",
# and a guess.

# %%
order = list(sources)
measured = np.array([np.mean(errors[name]) for name in order])
scores = {
    "Task2Vec": ("distance", [next(r.d_asym for r in ranking if r.source == name) for name in order]),
    "cosine": ("distance", [distance.cosine(embedded[target_name], embedded[name]) for name in order]),
    "LEEP": (
        "score",
        [transfer.leep(experts[n].classify(target.train.images), target.train.labels) for n in order],
    ),
    "LogME": (
        "score",
        [transfer.logme(experts[n].features(target.train.images), target.train.labels) for n in order],
    ),
}
for name, (kind, values) in scores.items():
    result = transfer.compare(values, measured, kind=kind)
    print(f"{name:10s} tau {result.kendall:+.2f}  regret {result.regret:.3f}")

# %% [markdown]
# ### Your comparison
#
# ### BEGIN SOLUTION
# One table: method, cost in seconds, what it needs (an expert or not), τ and regret with intervals (`transfer.bootstrap` with several targets). Note that LEEP
# and LogME see the trained expert and Task2Vec does not.
# ### END SOLUTION

# %% [markdown]
# ## 5. Report
#
# Question, data, method in your own words, the ranking and the measurement in one figure, baselines, what went wrong, and one sentence that a
# colleague could act on. What would have changed your conclusion?
#
# ### BEGIN SOLUTION
# See the rubric.
# ### END SOLUTION
