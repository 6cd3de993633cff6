"""Physics, no I/O: outcome order, meshes, permanents, programs, counts."""
