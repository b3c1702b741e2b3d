"""A body's parts move with their bones, and nothing else does."""

import numpy as np
import pytest

from cocosnet_hf.conditions.joints import JOINTS
from cocosnet_hf.conditions.skinning import BESIDE, LIMB, parts_of, skinned_flow
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
    assert np.allclose(found, PLACES * 1.2 * np.exp(0.3j) + (20 - 7j), atol=0.01)


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


def away(joints: np.ndarray, places: np.ndarray) -> np.ndarray:
    """From the body, as a share of its height."""
    return np.min([part.distance(joints, places) for part in parts_of(joints, joints)], 0) / HEIGHT


@pytest.mark.parametrize("arm", [-2.5, -1.0, 0.2])
def test_what_is_far_from_one_body_is_far_from_the_other(arm: float):
    elbow = at("l_shoulder") + abs(at("l_elbow") - at("l_shoulder")) * np.exp(1j * arm)
    raised = moved(l_elbow=elbow, l_wrist=elbow + (at("l_wrist") - at("l_elbow")))
    for pose, exemplar in ((raised, STANDING), (STANDING, raised)):
        found = skinned_flow(pose, exemplar, PLACES)
        far = away(pose, PLACES) > 1.3 * BESIDE
        assert far.sum() > 1000
        assert (away(exemplar, found[far]) > BESIDE / 2).all()


def test_beneath_an_arm_that_leaves_the_body_is_the_ground():
    hanging = moved(l_elbow=at("l_shoulder") + 32j, l_wrist=at("l_shoulder") + 62j)
    elbow = at("l_shoulder") + 32 * np.exp(0.5j)
    out = moved(l_elbow=elbow, l_wrist=elbow + 30 * np.exp(0.5j))
    arm = np.linspace(elbow, at("l_wrist", out), 5)[1:]
    found = skinned_flow(out, hanging, arm + 0.5 * LIMB * HEIGHT * np.exp(0.5j) * 1j)
    assert (away(hanging, found) < LIMB).all()  # the sleeve
    found = skinned_flow(out, hanging, arm + 1.5 * BESIDE * HEIGHT * np.exp(0.5j) * 1j)
    assert (away(hanging, found) > BESIDE).all()


def test_what_a_pose_does_not_show_moves_with_what_it_shows():
    nowhere = complex(np.nan, np.nan)
    without = moved(r_knee=nowhere, r_ankle=nowhere)
    shin = np.linspace(at("r_knee"), at("r_ankle"), 5)[2:]
    larger = 1.5 * STANDING
    for pair in ((without, larger), (STANDING, 1.5 * without)):
        assert np.allclose(skinned_flow(*pair, shin), 1.5 * shin, atol=1)
    seen_from_its_end = moved(r_ankle=at("r_knee") + 1)
    found = skinned_flow(STANDING, seen_from_its_end, shin[-1:])
    assert np.allclose(found, shin[-1:], atol=0.1 * HEIGHT)


def test_a_body_of_one_joint_says_nothing():
    one = np.full(18, complex(np.nan, np.nan))
    assert np.isnan(skinned_flow(one, STANDING, PLACES)).all()
    one[3] = 5 + 5j
    assert np.isnan(skinned_flow(one, STANDING, PLACES)).all()
    one[4] = 5 + 5j  # both in one place
    assert np.isnan(skinned_flow(one, STANDING, PLACES)).all()
