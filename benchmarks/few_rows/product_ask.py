"""Train classifiers of the `coterie` on the path and ask them: a JSON line with the rows in, one with the answers out.

It uses what `Classifier` has had since its first day, so that any version of the project can run it.
"""

import json
import sys

from coterie import Classifier

for line in sys.stdin:
    given = json.loads(line)
    classifier = Classifier.fit(given["texts"], given["labels"], **given["options"])
    found = [classifier.predict(text) for text in given["asked"]]
    said = {
        "rung": str(classifier.rung),
        "accepted": [each.accepted for each in found],
        "labels": [each.label for each in found],
        "codes": [each.reason_code for each in found],
    }
    sys.stdout.write(f"{json.dumps(said)}\n")
    sys.stdout.flush()
