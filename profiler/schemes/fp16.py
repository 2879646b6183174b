"""fp16: half precision, the recommended base of CogVideoX-2b; may overflow elsewhere."""

from profiler.schemes.base import SCHEMES, Scheme

SCHEMES.add("fp16", Scheme(name="fp16", summary="float16 weights and activations", base_dtype="float16"))
