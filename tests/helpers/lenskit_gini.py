"""Store LensKit's Gini coefficient of lists, for `tests/retrieval/test_metrics.py`.

LensKit needs older versions of pandas and Click than the tests have, and so an environment of its
own:

python -m venv /tmp/lenskit && /tmp/lenskit/bin/pip install lenskit==2025.8.1
/tmp/lenskit/bin/python tests/helpers/lenskit_gini.py > tests/retrieval/lenskit_gini.json
"""

import json
from importlib.metadata import version

import numpy as np
from lenskit.data import ItemList
from lenskit.metrics import ListGini


def main() -> None:
    """Print lists of distinct items from 1, some popular, some short, and their coefficient."""
    rng = np.random.default_rng(12)
    cases = []
    for number in range(12):
        items = int(rng.integers(5, 30))
        chance = rng.dirichlet(np.full(items, 0.5)) + 1e-3
        lists = [
            rng.choice(items, rng.integers(1, 6), replace=False, p=chance / chance.sum()) + 1
            for _ in range(number + 1)
        ]
        metric = ListGini(items=items)
        shown = [metric.compute_list_data(ItemList(item_ids=own), None) for own in lists]
        gini = float(metric.global_aggregate(shown))
        cases.append({"items": items, "lists": [own.tolist() for own in lists], "gini": gini})
    print(json.dumps({"made_by": f"lenskit {version('lenskit')}", "cases": cases}))


if __name__ == "__main__":
    main()
