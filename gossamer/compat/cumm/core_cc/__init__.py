"""`cumm.core_cc`: the names that upstream's compiled module leaves in pickled layers."""
