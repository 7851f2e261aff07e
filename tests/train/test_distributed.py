"""Two processes, each feeding its own rows, are one run."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import toys
from process import BATCH, STEPS

from jaxtransfer.train.loop import train
from jaxtransfer.train.predict import predict

PROGRAM = pathlib.Path(__file__).parent / "process.py"


def test_two_processes_take_the_trajectory_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{PROGRAM.parents[2]}{os.pathsep}{PROGRAM.parent}",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
    }
    arguments = [str(tmp_path / "outcome"), str(tmp_path / "run")]
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), address, "2", str(index), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    found = [np.load(tmp_path / f"outcome.{index}.npz") for index in range(2)]
    alone = train(
        toys.make_adapted(),
        {"labeled": toys.make_examples()},
        toys.supervised(),
        toys.make_recipe(steps=STEPS, batch_size=BATCH),
        seed=0,
    )
    losses = [row["loss"] for row in alone.history]
    logits = predict(alone.adapted, alone.variables, toys.make_examples(11))
    for outcome in found:
        np.testing.assert_allclose(outcome["losses"], losses, rtol=0, atol=1e-5)
        np.testing.assert_allclose(outcome["logits"], logits, atol=1e-4)
    np.testing.assert_array_equal(found[0]["logits"], found[1]["logits"])
