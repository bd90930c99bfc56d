"""The compiled module of MinkowskiEngine: the package `MinkowskiEngineBackend`."""
