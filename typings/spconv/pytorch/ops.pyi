# spconv carries annotations that its own examples do not obey.
from typing import Any

get_current_stream: Any

def __getattr__(name: str) -> Any: ...
