"""From files to batches of numbers: what every format reader offers.

A reader turns one `Span` of one file into `Batch` objects. It knows its format and nothing of ranks,
channels or XGBoost: `treering.channels` decides which rank reads which span, `treering.schema` lets the
ranks agree on columns, and later formats and faster loaders only have to yield batches.
"""
