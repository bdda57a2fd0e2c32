"""The API: one file per resource, with its router and the models of what it takes and returns."""
