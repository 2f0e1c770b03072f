"""Readers of interactions, one module per format.

To add a format, write its module, which ends in `FORMAT = format.Format(...)`, and name it here.
"""

# In order of recognition: a source is of the first format that recognises it. Modules load on
# demand, so that listing the names does not import polars.
FORMATS = {
    "comirec": "reprise.data.readers.comirec",
    "recbole": "reprise.data.readers.recbole",
    "movielens": "reprise.data.readers.movielens",
    "taobao": "reprise.data.readers.taobao",
    "sequences": "reprise.data.readers.sequences",
    "table": "reprise.data.readers.table",
}
