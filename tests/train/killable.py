"""Trains a toy in a work directory; run as a program, so that a test can kill it.

Usage: killable.py WORKDIR METHOD SCAN [KILL_AT], which sends SIGKILL to itself once step KILL_AT is on disk.
"""

import os
import pathlib
import signal
import sys

import jax
import numpy as np
import toys

from jaxtransfer import trees
from jaxtransfer.adapt.freezing import Full, LinearProbe
from jaxtransfer.train.checkpoint import Checkpoints
from jaxtransfer.train.loop import train
from jaxtransfer.train.predict import predict


def main(workdir, method, scan, kill_at=0):
    adapted = toys.make_adapted(
        {"full": Full, "probe": LinearProbe}[method](), dropout=0.2, norm=True
    )
    seen = []

    def progress(step, steps, metrics):
        seen.append(step)
        if kill_at and step >= kill_at and "loss" in metrics:
            os.kill(os.getpid(), signal.SIGKILL)

    states = []
    save = Checkpoints.save

    def spy(self, state, *others):
        states.append(jax.tree.map(np.array, (state.trainable, state.optimizer)))
        save(self, state, *others)

    Checkpoints.save = spy
    trained = train(
        adapted,
        {"labeled": toys.make_examples()},
        toys.supervised(),
        toys.make_recipe(
            steps=14, checkpoint_every=4, evaluate_every=3, precision="float32", scan=scan
        ),
        seed=3,
        validation=toys.make_examples(9, seed=4, name="v"),
        workdir=workdir,
        progress=progress,
    )
    logits = predict(trained.adapted, trained.variables, toys.make_examples(11, seed=5))
    leaves = {f"optimizer/{i}": x for i, x in enumerate(jax.tree.leaves(states[-1]))}
    variables = {
        f"v/{k}": np.asarray(v) for k, v in trees.flatten_variables(trained.variables).items()
    }
    history = np.array([sorted(row.items()) for row in trained.history if "loss" in row])
    np.savez(
        pathlib.Path(workdir) / "outcome.npz",
        logits=logits,
        history=history[:, :, 1].astype(np.float64),
        **leaves,
        **variables,
    )
    print(seen)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] == "scan", *map(int, sys.argv[4:]))
