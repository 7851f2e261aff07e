"""All-MiniLM-L6-v2 on the sentiment of movie-review snippets with 50 labels, climbed from the class means to full fine-tuning.

    jaxtransfer ladder --config configs/movie_minilm.py --workdir runs/movies

The 10,605 rated snippets come with vaderSentiment 3.3.2 (Hutto and Gilbert, ICWSM 2014), rated by twenty people each from
-4 to 4. A mean of at most -0.5 is negative, one of at least 0.5 positive; the 533 between are left out, and the data card
says so. `experiments/studies/ladder_by_labels.py` has the figures of 10, 50 and 250 labels.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.name = "movie_minilm"

    config.model = ConfigDict()
    config.model.uri = "all-minilm-l6-v2"
    # Snippets are sentences: half of them have at most 18 words.
    config.model.options = ConfigDict({"max_length": 32})

    config.data = ConfigDict()
    config.data.kind = "csv"
    config.data.path = (
        "pypi:vaderSentiment==3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz/hutto_ICWSM_2014/"
        "movieReviewSnippets_GroundTruth.txt"
    )
    config.data.columns = ("id", "rating", "text")
    config.data.delimiter = "\t"
    config.data.quoted = False
    config.data.id = "id"
    config.data.label = "rating"
    config.data.bands = ConfigDict({"negative": (None, -0.5), "positive": (0.5, None)})
    config.data.encoding = "latin-1"

    config.splits = ConfigDict()
    config.splits.sizes = ConfigDict({"validation": 200, "calibration": 200, "test": 500})
    config.splits.train_per_class = 25
    config.splits.seed = 0

    config.train = ConfigDict()
    config.train.steps = 40
    config.train.batch_size = 10
    config.train.weight_decay = 0.01
    config.train.evaluate_every = 20

    config.tuning = ConfigDict({"seed": 1000})
    config.seeds = (0, 1, 2)
    config.acceptance = ConfigDict({"metric": "macro_f1", "margin": 0.0, "confidence": 0.95})

    config.rungs = (
        "majority_class",
        "nearest_mean",
        "linear_probe",
        "bitfit",
        "lora",
        "lp_ft",
        "full",
    )
    config.methods = ConfigDict()
    config.methods.majority_class = ConfigDict({"method": "majority_class"})
    config.methods.nearest_mean = ConfigDict({"method": "nearest_mean"})
    config.methods.linear_probe = ConfigDict(
        {"method": "linear_probe", "learning_rates": (1e-3, 1e-2), "steps": 200}
    )
    config.methods.bitfit = ConfigDict(
        {"method": "bitfit", "learning_rates": (1e-3, 3e-3), "group_rates": {"head": 10.0}}
    )
    config.methods.lora = ConfigDict(
        {"method": "lora", "options": {"rank": 8, "alpha": 16.0}, "learning_rates": (1e-3, 2e-3)}
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
    return config
