"""The fixed texts of a model card."""

from __future__ import annotations

FRONT_MATTER = """---
{stated}base_model: {base_model}
library_name: sentence-transformers
pipeline_tag: text-ranking
tags:
- sentence-transformers
- cross-encoder
- reranker
- searchkit
- dataset_size:{size}
- loss:BinaryCrossEntropyLoss
---"""

USAGE = """With searchkit; the folder is the one that holds this card:

```python
from searchkit.reranking import CrossEncoderReranker

model = CrossEncoderReranker("{name}")
scores = model.predict([
    ("how are hairdressers paid", "The median annual wage for hairdressers was $35,420."),
    ("how are hairdressers paid", "Hairdressers shampoo, cut and colour hair."),
])
print(scores.shape)  # (2,)

ranking = model.rank(
    "how are hairdressers paid",
    ["The median annual wage for hairdressers was $35,420.", "Hairdressers shampoo, cut and colour hair."],
    criteria="A relevant passage states a yearly wage in dollars.",
)
print(ranking[0]["corpus_id"], ranking[0]["score"])
```

Or with sentence-transformers, which gives the same scores:

```python
from sentence_transformers import CrossEncoder

model = CrossEncoder("{name}")
scores = model.predict([["how are hairdressers paid", "The median annual wage for hairdressers was $35,420."]])
```"""

LIMITS = """\
- A pair is cut at {max_length} tokens, from the passage's end; searchkit reports what was cut and splits long passages.
- A probability holds for passages like those it was calibrated on. It says how relevant a passage is, not whether what
  it states is true.
- Criteria are followed as far as the training pairs taught it. It may follow criteria that contradict the query.
- Passages can contain text that is written to rank high. Do not let the order of results decide about people."""

CITATION = """```bibtex
@inproceedings{reimers-2019-sentence-bert,
    title = "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks",
    author = "Reimers, Nils and Gurevych, Iryna",
    booktitle = "Proceedings of the 2019 Conference on Empirical Methods in Natural Language Processing",
    month = "11",
    year = "2019",
    publisher = "Association for Computational Linguistics",
    url = "https://arxiv.org/abs/1908.10084",
}
```"""
