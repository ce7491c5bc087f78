"""Training of cross-encoders: pairs, mined negatives, criteria, the run itself, calibration and the model card.

Importing this loads no model library; `train` does.
"""

from __future__ import annotations

from searchkit.reranking.profile_fit import JudgedCandidate as JudgedCandidate
from searchkit.reranking.profile_fit import fit_profile as fit_profile
from searchkit.training.calibrate import write_profile as write_profile
from searchkit.training.card import CardFacts as CardFacts
from searchkit.training.card import QualityRow as QualityRow
from searchkit.training.card import render_card as render_card
from searchkit.training.card_file import read_card as read_card
from searchkit.training.card_file import write_card as write_card
from searchkit.training.mining import MiningConfig as MiningConfig
from searchkit.training.mining import RankedPassage as RankedPassage
from searchkit.training.mining import mine_pairs as mine_pairs
from searchkit.training.pairs import LabelledPair as LabelledPair
from searchkit.training.pairs import PairStatistics as PairStatistics
from searchkit.training.pairs import check_pairs as check_pairs
from searchkit.training.pairs import write_pairs as write_pairs
from searchkit.training.readers import read_pairs as read_pairs
from searchkit.training.recipe import Recipe as Recipe
from searchkit.training.run import TrainingReport as TrainingReport
from searchkit.training.run import train as train
