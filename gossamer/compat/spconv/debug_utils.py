"""`spconv.debug_utils`: what an operation was given, written down where it failed."""

import os
import pickle
import sys
from contextlib import suppress
from pathlib import Path

from gossamer.compat.spconv import constants
from gossamer.compat.spconv.constants import SPCONV_DEBUG_SAVE_PATH as SPCONV_DEBUG_SAVE_PATH


def spconv_save_debug_data(data) -> None:
    """Pickles `data` to the file that SPCONV_DEBUG_SAVE_PATH names, and prints what became of it.

    Called while an error is on its way, so a path that cannot be written, and data that cannot be
    pickled, are told too and not raised.
    """
    path = constants.SPCONV_DEBUG_SAVE_PATH
    if not path:
        return _tell("set SPCONV_DEBUG_SAVE_PATH to a file to keep what this operation was given")
    beside = Path(f"{path}.writing-{os.getpid()}")
    try:
        beside.write_bytes(pickle.dumps(data))
        beside.replace(path)
    except (OSError, pickle.PickleError, AttributeError, RuntimeError, TypeError, ValueError) as e:
        return _tell(f"nothing was written to SPCONV_DEBUG_SAVE_PATH, {path}: {e}")
    finally:
        with suppress(OSError):
            beside.unlink()
    return _tell(f"what this operation was given is in {path}; attach it to a report")


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
