from __future__ import annotations

import numpy as np
import pytest

from searchkit.encoding.vectors import check_texts, unit_rows
from searchkit.errors import EncodingError


def test_rows_come_back_with_length_one_whatever_their_scale():
    found = unit_rows(np.array([[3.0, 4.0], [3e-4, 4e-4], [3e30, 4e30]], dtype=np.float32), 2, "m")
    assert np.allclose(found, [[0.6, 0.8]] * 3)
    assert found.dtype == np.float32


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e-9])
def test_a_row_without_direction_is_refused_by_index(value):
    vectors = np.ones((3, 2), dtype=np.float32)
    vectors[1] = [value, 0.0]
    with pytest.raises(EncodingError, match="text 1 "):
        unit_rows(vectors, 2, "m")


@pytest.mark.parametrize("shape", [(2, 3), (2,), (1, 2, 2)])
def test_another_shape_is_refused(shape):
    with pytest.raises(EncodingError, match="shape"):
        unit_rows(np.ones(shape, dtype=np.float32), 2, "m")


def test_a_lone_surrogate_is_named_with_its_place_and_astral_characters_pass():
    check_texts(["fine \N{ROCKET}", "\0"])
    with pytest.raises(EncodingError, match="Text 1 holds a lone surrogate at character 2"):
        check_texts(["fine", "ab\udc00"])
