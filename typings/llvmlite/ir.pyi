# llvmlite carries no annotations, and what the checker infers from its sources is wrong.
from typing import Any

def __getattr__(name: str) -> Any: ...
