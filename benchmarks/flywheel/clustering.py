"""Jobs found by clustering texts, beside the product's templates and shapes of answers, on the same calls.

    COTERIE_DATA=... python benchmarks/flywheel/clustering.py

The calls are those of `run.py`. k-means (told the true number of jobs) and HDBSCAN cluster the vectors that the bundled
encoder gives the whole prompts; for `discover` prompts and answers are what they are.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.metrics import adjusted_rand_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _vectors import RememberingEncoder
from run import SIZES, make_calls, read_jobs

from _record import Bar, Record, arguments
from coterie.flywheel.discovery import discover

CLAIM = "Templates and shapes of answers find jobs; clusters of texts do not."


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--calls", type=int, default=1_500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vectors", type=Path, help="file that keeps the vectors of texts")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[given.seed])
    rows = read_jobs(record)
    names, templated, calls = make_calls(rows, given.seed, times=given.calls / sum(SIZES.values()))
    truth, there = np.asarray(names), np.asarray(templated)
    encoder = RememberingEncoder(given.vectors)
    vectors = encoder.encode(["\n".join(text for _, text in call.prompt) for call in calls])
    encoder.save()
    homes = np.full(len(calls), -1)
    for number, job in enumerate(discover(calls).jobs):
        homes[list(job.calls)] = number
    clusterings = {
        "discover": homes,
        "k_means": KMeans(len(SIZES), n_init=5, random_state=given.seed).fit_predict(vectors),
        "hdbscan": HDBSCAN(min_cluster_size=20, copy=True).fit_predict(vectors),
    }
    ari = {name: float(adjusted_rand_score(truth[there], clusters[there])) for name, clusters in clusterings.items()}
    record.figures = {
        "calls": len(calls),
        "ari_templated": ari,
        "ari": {name: float(adjusted_rand_score(truth, clusters)) for name, clusters in clusterings.items()},
        "hdbscan_noise": float((clusterings["hdbscan"] < 0).mean()),
    }
    record.bars = [
        Bar(what="ARI, templated: discover", measured=ari["discover"], limit=0.95),
        Bar(what="ARI above k-means", measured=ari["discover"] - ari["k_means"], limit=0.0),
        Bar(what="ARI above HDBSCAN", measured=ari["discover"] - ari["hdbscan"], limit=0.0),
    ]
    print(record.figures, flush=True)
    record.write(given.out)


if __name__ == "__main__":
    main()
