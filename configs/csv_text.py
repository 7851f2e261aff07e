"""Your own texts and their labels in a table: a ladder from the majority class to full fine-tuning of a sentence encoder.

    jaxtransfer ladder --config configs/csv_text.py --workdir runs/csv_text --config.data.path=data.csv

`--dry-run` counts beforehand what that costs. The data are a CSV file with the columns `text` and
`label`; the path is all that has to change, on the command line or below. Splits are shares, which
suit some hundred examples; of many, counts are quicker (`--config.splits.sizes.test=500
--config.splits.train_per_class=50`). `--config.data.kind=` csv, jsonl, parquet or text_folder
reads those; of a table, `--config.data.text=body --config.data.label=topic` name other columns,
and `--config.data.encoding=latin-1` another encoding.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.name = "csv_text"

    # Trained on English sentences; any other BERT of a Hugging Face directory by URI or path.
    config.model = ConfigDict()
    config.model.uri = "all-minilm-l6-v2"
    # Tokens that are read of a text; the rest is cut. Cost grows with it.
    config.model.options = ConfigDict({"max_length": 64})

    config.data = ConfigDict({"kind": "csv", "path": "data.csv"})

    # Shares of all examples, stratified by class; of many, counts are quicker. One half of
    # validation tunes, the other decides; test is read once, at the end.
    config.splits = ConfigDict(
        {
            "sizes": {"validation": 0.4, "calibration": 0, "test": 0.25},
            "train_per_class": 0.3,
            "seed": 0,
        }
    )

    config.train = ConfigDict()
    # Each step sees one batch; more labels are worth more steps.
    config.train.steps = 40
    config.train.batch_size = 10
    config.train.weight_decay = 0.01
    config.train.evaluate_every = 20

    # Learning rates are tuned on one half of validation with this seed; the other half decides.
    config.tuning = ConfigDict({"seed": 1000})
    # What is compared is trained once with each of these. Five show a gain that three seldom do.
    config.seeds = (0, 1, 2, 3, 4)

    # Fixed before anything is run: a rung replaces a cheaper one only if its paired difference in
    # this metric exceeds the margin with this confidence, corrected for the number of rungs.
    config.acceptance = ConfigDict()
    config.acceptance.metric = "macro_f1"
    config.acceptance.margin = 0.0
    config.acceptance.confidence = 0.95
    # `target` is a value that the metric has to reach; `guards` bound what must not be paid for it, such as
    # {"ece": 0.15, "latency_p95_ms": 50.0, "peak_mib": 500.0}.
    config.acceptance.target = config_dict.placeholder(float)
    config.acceptance.guards = ConfigDict()
    # Full training and a probe from random weights, beside the ladder: is pretraining worth anything here?
    config.negative_transfer = True
    # What `jaxtransfer diagnose` has written, for rungs that ask for its facts.
    config.diagnosis = config_dict.placeholder(str)

    # Rungs are climbed as `listed`, by estimated `cost`, or by what won in similar tasks: order "records", and
    # a folder of earlier work directories as `records`.
    config.order = "listed"
    config.records = config_dict.placeholder(str)
    # Cheapest first; leave out what you would not use.
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
    # A fresh head learns faster than what is pretrained.
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
    # The head alone first, then everything.
    config.methods.lp_ft = ConfigDict(
        {
            "method": "lp_ft",
            "learning_rates": (5e-5, 1e-4),
            "group_rates": {"head": 1.0},
            "first_phase": {"learning_rate": 3e-3, "steps": 100},
        }
    )
    config.methods.full = ConfigDict({"method": "full", "learning_rates": (5e-5, 1e-4)})
    # The mean of the incumbent's seeds: nothing to train, as many networks to serve as there are seeds. With it the
    # work directory keeps what each seed has trained.
    config.methods.seed_ensemble = ConfigDict({"method": "seed_ensemble"})
    return config
