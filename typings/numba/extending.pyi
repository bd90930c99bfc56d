# numba carries few annotations, and a compiled function takes more than its source says.
from typing import Any

def __getattr__(name: str) -> Any: ...
