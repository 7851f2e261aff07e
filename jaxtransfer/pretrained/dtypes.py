"""Numpy dtypes of the element types that checkpoint formats name, those of `ml_dtypes` included."""

import ml_dtypes
import numpy as np

TORCH: dict[str, np.dtype] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "complex64": np.dtype(np.complex64),
    "complex128": np.dtype(np.complex128),
    "int64": np.dtype(np.int64),
    "int32": np.dtype(np.int32),
    "int16": np.dtype(np.int16),
    "int8": np.dtype(np.int8),
    "uint64": np.dtype(np.uint64),
    "uint32": np.dtype(np.uint32),
    "uint16": np.dtype(np.uint16),
    "uint8": np.dtype(np.uint8),
    "bool": np.dtype(np.bool_),
}
"""By the names of torch's dtypes."""

TORCH_STORAGE: dict[str, np.dtype] = {
    "DoubleStorage": TORCH["float64"],
    "FloatStorage": TORCH["float32"],
    "HalfStorage": TORCH["float16"],
    "BFloat16Storage": TORCH["bfloat16"],
    "ComplexFloatStorage": TORCH["complex64"],
    "ComplexDoubleStorage": TORCH["complex128"],
    "LongStorage": TORCH["int64"],
    "IntStorage": TORCH["int32"],
    "ShortStorage": TORCH["int16"],
    "CharStorage": TORCH["int8"],
    "ByteStorage": TORCH["uint8"],
    "BoolStorage": TORCH["bool"],
}
"""By the names of torch's typed storages."""

SAFETENSORS: dict[str, np.dtype] = {
    "F64": TORCH["float64"],
    "F32": TORCH["float32"],
    "F16": TORCH["float16"],
    "BF16": TORCH["bfloat16"],
    "F8_E4M3": TORCH["float8_e4m3fn"],
    "F8_E5M2": TORCH["float8_e5m2"],
    "C64": TORCH["complex64"],
    "I64": TORCH["int64"],
    "I32": TORCH["int32"],
    "I16": TORCH["int16"],
    "I8": TORCH["int8"],
    "U64": TORCH["uint64"],
    "U32": TORCH["uint32"],
    "U16": TORCH["uint16"],
    "U8": TORCH["uint8"],
    "BOOL": TORCH["bool"],
}
"""By the names in a safetensors header."""
