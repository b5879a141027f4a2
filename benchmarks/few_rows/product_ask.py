"""Train classifiers of the `coterie` on the path and ask them: a JSON line with the rows in, one with the answers out.

It uses what `Classifier` has had since its first day, so that any version of the project can run it.
"""

import json
import sys

from coterie import Classifier

for line in sys.stdin:
    given = json.loads(line)
    classifier = Classifier.fit(given["texts"], given["labels"], **given["options"])
    predictions = [classifier.predict(text) for text in given["asked"]]
    answer = {
        "rung": str(classifier.rung),
        "accepted": [prediction.accepted for prediction in predictions],
        "labels": [prediction.label for prediction in predictions],
        "codes": [prediction.reason_code for prediction in predictions],
    }
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()
