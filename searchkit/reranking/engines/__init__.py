"""What runs a cross-encoder: one module an engine, all behind `searchkit.reranking.engines.base.Engine`."""
