"""Makes one sum of many workers' gradients: in shared memory inside a node, over TCP between nodes, in one fixed order."""
