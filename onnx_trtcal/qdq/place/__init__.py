"""Where Q/DQ pairs go, as plain data: `place` applies TensorRT's placement rules to a folded graph."""
