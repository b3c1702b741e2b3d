"""A body's parts move with their bones, and nothing else does."""

import numpy as np
import pytest

from cocosnet_hf.conditions.joints import JOINTS
from cocosnet_hf.conditions.skinning import ARM_REACH, BESIDE, REACH, skinned_flow
from tools.people import FIGURES
from tools.people import joints as joints_of

FOUND = joints_of(FIGURES[4])
STANDING = FOUND[:, 0] + 1j * FOUND[:, 1]
HEIGHT = 1.1 * np.ptp(STANDING.imag)
Y, X = np.mgrid[0:384:4, 0:192:4]
PLACES = X + 1j * Y


def at(name: str, joints: np.ndarray = STANDING) -> complex:
    return joints[JOINTS.index(name)]


def moved(**places: complex) -> np.ndarray:
    joints = STANDING.copy()
    for name, place in places.items():
        joints[JOINTS.index(name)] = place
    return joints


def test_a_whole_body_that_turns_grows_and_shifts_takes_everything_near_along():
    turned = STANDING * 1.2 * np.exp(0.3j) + (20 - 7j)
    found = skinned_flow(STANDING, turned, PLACES)
    is_there = ~np.isnan(found)
    expected = PLACES * 1.2 * np.exp(0.3j) + (20 - 7j)
    assert np.allclose(found[is_there], expected[is_there], atol=0.01)
    trunk = np.linspace(at("neck"), (at("r_hip") + at("l_hip")) / 2, 9)
    assert not np.isnan(skinned_flow(STANDING, turned, trunk)).any()


def test_a_raised_forearm_moves_alone():
    elbow, wrist = at("l_elbow"), at("l_wrist")
    raised = moved(l_wrist=elbow + abs(wrist - elbow) * np.exp(-1j))
    along = np.linspace(0.6, 1, 5)  # nearer to the elbow it goes over into the upper arm
    found = skinned_flow(raised, STANDING, elbow + (at("l_wrist", raised) - elbow) * along)
    assert np.allclose(found, elbow + (wrist - elbow) * along, atol=1)
    shin = at("r_knee") + (at("r_ankle") - at("r_knee")) * along
    assert np.allclose(skinned_flow(raised, STANDING, shin), shin, atol=1)


def test_a_longer_limb_is_stretched_along_it_and_not_to_its_sides():
    knee, ankle = at("l_knee"), at("l_ankle")
    short = moved(l_ankle=knee + (ankle - knee) / 2)
    aside = 4 * 1j * (ankle - knee) / abs(ankle - knee)
    found = skinned_flow(STANDING, short, np.array([knee + 0.6 * (ankle - knee) + aside]))
    along, across = (found[0] - knee) / (ankle - knee), abs(found[0] - knee - 0.3 * (ankle - knee))
    assert along.real == pytest.approx(0.3, abs=0.02)
    assert across == pytest.approx(4, rel=0.1)


def test_a_leg_that_another_hides_ends_where_the_body_does():
    """From crossed shins to ones that stand apart: what lay behind the other is not shown twice."""
    crossed = moved(r_ankle=at("l_ankle"), l_ankle=at("r_ankle"))
    apart = moved(l_ankle=at("l_ankle") + 30, r_ankle=at("r_ankle") - 30)
    shin = np.linspace(at("l_knee", apart), at("l_ankle", apart), 7)
    found = skinned_flow(apart, crossed, (shin[:, None] + np.arange(-24, 25, 4)).ravel())
    legs = [("r_hip", "r_knee"), ("r_knee", "r_ankle"), ("l_hip", "l_knee"), ("l_knee", "l_ankle")]
    own, other = (
        np.min([abs(found - (at(a, crossed) + (at(b, crossed) - at(a, crossed)) * t))
                for a, b in pairs for t in np.linspace(0, 1, 200)], axis=0)
        for pairs in (legs[3:], legs[1:2])
    )  # fmt: skip
    on_other = other < own - 0.02 * HEIGHT
    assert on_other.any()  # beyond it
    assert (other[on_other] >= 0.95 * BESIDE * HEIGHT).all()


@pytest.mark.parametrize("name, reach", [("l_wrist", ARM_REACH), ("l_ankle", REACH)])
def test_what_is_far_from_all_bones_is_left_open(name: str, reach: float):
    outwards = np.array([0.9, 1.1]) * reach * HEIGHT
    end = at(name) + (outwards if at(name).real > at("neck").real else -outwards)
    found = skinned_flow(STANDING, STANDING, end)
    assert np.isnan(found).tolist() == [False, True]
    assert abs(found[0] - end[0]) < 0.01


def test_parts_that_a_pose_does_not_show_say_nothing():
    nowhere = complex(np.nan, np.nan)
    without = moved(r_knee=nowhere, r_ankle=nowhere)
    shin = np.linspace(at("r_knee"), at("r_ankle"), 5)[2:]
    for pair in ((without, STANDING), (STANDING, without)):
        assert np.isnan(skinned_flow(*pair, shin)).all()
        assert abs(skinned_flow(*pair, np.array([at("neck")]))[0] - at("neck")) < 3
    seen_from_its_end = moved(r_ankle=at("r_knee") + 1)
    assert np.isnan(skinned_flow(STANDING, seen_from_its_end, shin[-1:])).all()


def test_a_body_of_one_joint_says_nothing():
    one = np.full(18, complex(np.nan, np.nan))
    assert np.isnan(skinned_flow(one, STANDING, PLACES)).all()
    one[3] = 5 + 5j
    assert np.isnan(skinned_flow(one, STANDING, PLACES)).all()
    one[4] = 5 + 5j  # both in one place
    assert np.isnan(skinned_flow(one, STANDING, PLACES)).all()
