"""One of several processes that train a toy together: process.py ADDRESS COUNT INDEX OUT WORKDIR.

The last epoch's batch is not full, and a process's rows are not divisible by its devices.
"""

import sys

import numpy as np
import toys

from jaxtransfer.train import distributed

STEPS, BATCH = 8, 6


def main(address, count, index, out, workdir):
    assert distributed.initialize(address, count, index) == (index, count)
    from jaxtransfer.train.loop import train
    from jaxtransfer.train.predict import predict

    trained = train(
        toys.make_adapted(),
        {"labeled": toys.make_examples()},
        toys.supervised(),
        toys.make_recipe(steps=STEPS, batch_size=BATCH, checkpoint_every=4, evaluate_every=4),
        seed=0,
        validation=toys.make_examples(9, seed=4, name="v"),
        workdir=workdir,
    )
    logits = predict(trained.adapted, trained.variables, toys.make_examples(11), batch_size=4)
    losses = [row["loss"] for row in trained.history if "loss" in row]
    np.savez(f"{out}.{index}.npz", losses=losses, logits=logits)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
