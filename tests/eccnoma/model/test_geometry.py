"""Where access points and users are: cells of nearly equal size, the nearest of them, and places drawn in them."""

import numpy as np
import pytest
from scipy import stats

from edge_envs.eccnoma.model.geometry import cell_centres, nearest_centre, place_users
from tests.eccnoma.model.reference_step import Floats, Ints

COUNTS = [1, 2, 3, 4, 5, 7, 12, 25, 64]
every_count = pytest.mark.parametrize("count", COUNTS)


def slow_nearest(points: Floats, centres: Floats) -> Ints:
    """Loops over the distances; of equal ones the first."""
    found = []
    for point in points:
        squares = [(point[0] - x) ** 2 + (point[1] - y) ** 2 for x, y in centres]
        found.append(squares.index(min(squares)))
    return np.array(found)


def areas(centres: Floats, side_m: float, grid: int = 300) -> Floats:
    """Part of the square that is nearest to each centre, by a fine grid."""
    at = (np.arange(grid) + 0.5) / grid * side_m
    points = np.array([(x, y) for x in at for y in at])
    return np.bincount(nearest_centre(points, centres), minlength=len(centres)) / len(points)


# Access points


@every_count
def test_centres_are_in_the_square_and_always_the_same(count):
    centres = cell_centres(count, 400.0)
    assert centres.shape == (count, 2)
    assert ((centres > 0.0) & (centres < 400.0)).all()
    np.testing.assert_array_equal(centres, cell_centres(count, 400.0))
    np.testing.assert_allclose(cell_centres(count, 1000.0), centres * 2.5, rtol=1e-12)
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=-1)[np.triu_indices(count, 1)]
    assert (distances > 0.5 * 400.0 / np.sqrt(count)).all()


def test_centres_belong_to_the_caller():
    """Writing into them harms nobody else."""
    before = cell_centres(5, 400.0)
    spoilt = cell_centres(5, 400.0)
    spoilt[:] = 0.0
    np.testing.assert_array_equal(cell_centres(5, 400.0), before)


@every_count
def test_cells_are_nearly_equal(count):
    """Lloyd's cells: none is far from the mean size, and every AP is in the middle of its own."""
    centres = cell_centres(count, 1.0)
    part = areas(centres, 1.0) * count
    assert part.min() > 0.65
    assert part.max() < 1.5
    rng = np.random.default_rng(0)
    points = rng.random((40_000, 2))
    near = nearest_centre(points, centres)
    for cell in range(count):
        inside = points[near == cell]
        shift = np.linalg.norm(inside.mean(axis=0) - centres[cell]) * np.sqrt(count)
        assert shift < 0.08 + 4.0 / np.sqrt(len(inside))


@pytest.mark.parametrize(("count", "middle"), [(1, [[0.5, 0.5]]), (2, None)])
def test_small_layouts_by_hand(count, middle):
    """One AP is in the middle; two are at opposite quarters of the square."""
    centres = cell_centres(count, 1.0)
    if middle is not None:
        np.testing.assert_allclose(centres, middle, atol=1e-12)
        return
    np.testing.assert_allclose(centres.mean(axis=0), [0.5, 0.5], atol=0.01)
    assert np.linalg.norm(centres[0] - centres[1]) == pytest.approx(0.5, abs=0.05)
    assert areas(centres, 1.0).tolist() == pytest.approx([0.5, 0.5], abs=0.01)


# Association


@every_count
def test_nearest_centre_against_loops(count):
    rng = np.random.default_rng(count)
    points, centres = rng.random((300, 2)) * 400.0, rng.random((count, 2)) * 400.0
    np.testing.assert_array_equal(nearest_centre(points, centres), slow_nearest(points, centres))


def test_of_equally_near_centres_the_first():
    centres = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    points = np.array([[1.0, 1.0], [1.0, 0.0], [2.0, 1.0], [0.5, 1.5]])
    assert nearest_centre(points, centres).tolist() == [0, 0, 1, 3]


# Users


@every_count
def test_uniform_places(count):
    """Anywhere in the square, whatever the cells are."""
    rng = np.random.default_rng(count)
    places = place_users(rng, 4000, cell_centres(count, 300.0), 300.0, False)
    assert places.shape == (4000, 2)
    for axis in places.T:
        assert stats.kstest(axis / 300.0, "uniform").pvalue > 1e-3
    assert abs(np.asarray(np.corrcoef(places.T))[0, 1]) < 0.07
    squares = np.array(places / 75.0).astype(np.int64)
    assert stats.chisquare(np.bincount(squares @ np.array([4, 1]), minlength=16)).pvalue > 1e-3


@every_count
def test_balanced_places_have_equal_counts(count):
    for users in (count, 6 * count):
        for seed in range(5):
            places = place_users(np.random.default_rng(seed), users, cell_centres(count, 50.0), 50.0, True)
            assert places.shape == (users, 2)
            assert ((places >= 0.0) & (places < 50.0)).all()
            loads = np.bincount(nearest_centre(places, cell_centres(count, 50.0)), minlength=count)
            assert loads.tolist() == [users // count] * count


@pytest.mark.parametrize("count", [2, 3, 5])
def test_balanced_places_are_uniform_within_a_cell(count):
    """Like those among uniform places that happen to be in it: the same spread along every direction."""
    centres = cell_centres(count, 1.0)
    rng = np.random.default_rng(2)
    drawn = np.concatenate([place_users(rng, 3 * count, centres, 1.0, True) for _ in range(1500)])
    free = np.random.default_rng(1).random((20_000, 2))
    near_drawn, near_free = nearest_centre(drawn, centres), nearest_centre(free, centres)
    for cell in range(count):
        ours, theirs = drawn[near_drawn == cell], free[near_free == cell]
        for direction in ((1.0, 0.0), (0.0, 1.0), (0.6, 0.8), (0.8, -0.6)):
            assert stats.ks_2samp(ours @ np.array(direction), theirs @ np.array(direction)).pvalue > 1e-4
        radius = [np.linalg.norm(points - centres[cell], axis=1) for points in (ours, theirs)]
        assert stats.ks_2samp(*radius).pvalue > 1e-4


def test_balanced_users_say_nothing_about_their_cell_by_their_number():
    """Neighbours in number are in different cells, so that the first half of the users is not one side."""
    centres = cell_centres(4, 1.0)
    places = place_users(np.random.default_rng(3), 12, centres, 1.0, True)
    assert nearest_centre(places, centres).tolist() == [0, 1, 2, 3] * 3


@pytest.mark.parametrize("balanced", [False, True])
def test_places_follow_the_generator(balanced):
    """The same seed gives the same places, and the next draw other ones."""
    centres = cell_centres(3, 100.0)
    one, other = np.random.default_rng(7), np.random.default_rng(7)
    first = place_users(one, 9, centres, 100.0, balanced)
    np.testing.assert_array_equal(first, place_users(other, 9, centres, 100.0, balanced))
    assert (first != place_users(one, 9, centres, 100.0, balanced)).all()
