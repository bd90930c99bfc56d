# spconv carries annotations that its own examples do not obey.
from typing import Any

def __getattr__(name: str) -> Any: ...
