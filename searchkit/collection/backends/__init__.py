"""One module for each engine that can hold a collection."""
