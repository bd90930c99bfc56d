"""What an option says about the versions of other libraries that there are facades of."""

from gossamer.compat.install import FACADES

# Libraries with one version need no option.
APIS = "Of " + ", of ".join(
    f"{library}: {' or '.join(apis)}" for library, apis in FACADES.items() if len(apis) > 1
)
