"""Criteria for training and validation: many wordings of conditions whose truth a program can check."""

from __future__ import annotations

from searchkit.training.criteria.distractors import anchored_story as anchored_story
from searchkit.training.criteria.distractors import irrelevant as irrelevant
from searchkit.training.criteria.distractors import noise as noise
from searchkit.training.criteria.distractors import story as story
from searchkit.training.criteria.distractors import vague as vague
from searchkit.training.criteria.generator import Criterion as Criterion
from searchkit.training.criteria.generator import counterfactual_group as counterfactual_group
from searchkit.training.criteria.generator import holds as holds
from searchkit.training.criteria.generator import noisy_group as noisy_group
from searchkit.training.criteria.generator import propose as propose
from searchkit.training.criteria.kinds import KINDS as KINDS
from searchkit.training.criteria.kinds import Kind as Kind
