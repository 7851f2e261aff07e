"""Sources, splits, preprocessing and random-access batches: from files to a step's input."""

from jaxtransfer.data.arrays import npz, pixel_csv
from jaxtransfer.data.duplicates import Duplicates, deduplicate
from jaxtransfer.data.examples import ArrayExamples, Examples
from jaxtransfer.data.folders import image_folder, text_folder
from jaxtransfer.data.images import ImagePreprocess
from jaxtransfer.data.load import load_table
from jaxtransfer.data.source import Table, from_arrays
from jaxtransfer.data.splits import Splits, halves, stratified_split
from jaxtransfer.data.stream import Stream, eval_batches
from jaxtransfer.data.tabular import csv, jsonl, parquet
from jaxtransfer.data.text import Tokenize
from jaxtransfer.data.tfds_source import tfds

__all__ = [
    "ArrayExamples",
    "Duplicates",
    "Examples",
    "ImagePreprocess",
    "Splits",
    "Stream",
    "Table",
    "Tokenize",
    "csv",
    "deduplicate",
    "eval_batches",
    "from_arrays",
    "halves",
    "image_folder",
    "jsonl",
    "load_table",
    "npz",
    "parquet",
    "pixel_csv",
    "stratified_split",
    "text_folder",
    "tfds",
]
