"""Promises of the optics that all phantoms share."""

import numpy as np
import pytest

from medattack_edu.clinics.phantoms import optics


def rng():
    return np.random.default_rng(3)


def shrink(field):
    side = len(field) // 2
    return field.reshape(side, 2, side, 2).mean(axis=(1, 3))


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_noise_is_the_same_field_at_every_size(slope):
    fields = {size: optics.noise(rng(), size, slope=slope, coarsest=0.5, finest=0.02) for size in (64, 128, 256)}
    for size in (64, 128):
        assert np.corrcoef(shrink(fields[2 * size]).ravel(), fields[size].ravel())[0, 1] > 0.93


def test_noise_has_unit_variance_and_takes_five_draws_at_any_size():
    used = []
    for size in (64, 200):
        generator = rng()
        field = optics.noise(generator, size, slope=1.0, coarsest=0.3, finest=0.05)
        assert field.dtype == np.float32 and field.flags.writeable
        assert 0.6 < field.std() < 1.5
        used.append(generator.random())
    assert used[0] == used[1]


def test_finest_smooths_and_coarsest_flattens():
    def roughness(**bounds):
        field = optics.noise(rng(), 128, slope=1.0, **bounds)
        return np.abs(np.diff(field, axis=1)).mean() / field.std()

    assert roughness(finest=0.05) < 0.5 * roughness(finest=0.0)
    assert roughness(coarsest=0.05) > 1.5 * roughness(coarsest=1.0)


def test_blur_keeps_the_light_and_treats_channels_alike():
    image = np.zeros((64, 64, 3), np.float32)
    image[32, 32] = 1, 2, 3
    blurred = optics.blur(image, 0.03)
    assert blurred.dtype == np.float32
    assert blurred.sum(axis=(0, 1)) == pytest.approx([1, 2, 3], rel=1e-3)
    assert blurred[..., 2] == pytest.approx(3 * blurred[..., 0], rel=1e-3)


def test_sensor_noise_has_the_spread_asked_for():
    flat = np.full((128, 128), 0.25, np.float32)
    assert optics.sensor_noise(rng(), flat, shot=0.1).std() == pytest.approx(0.05, rel=0.05)
    assert optics.sensor_noise(rng(), flat, read=0.02).std() == pytest.approx(0.02, rel=0.05)
    grainy = optics.sensor_noise(rng(), flat, read=0.02, grain=0.01)
    assert grainy.std() == pytest.approx(0.02, rel=0.05)
    assert np.abs(np.diff(grainy)).mean() < 0.7 * np.abs(np.diff(optics.sensor_noise(rng(), flat, read=0.02))).mean()


def test_a_vignette_is_brightest_at_its_centre_and_never_negative():
    light = optics.vignette(64, 0.8, centre=(0.5, 0.0))
    row, column = np.unravel_index(light.argmax(), light.shape)
    assert row in (31, 32) and column in (47, 48)
    assert light.min() >= 0 and light.max() <= 1


def test_bytes_are_rounded_clipped_and_rgb():
    grey = optics.to_bytes(np.array([[-1.0, 0.5], [1.0, 2.0]], np.float32))
    assert grey.shape == (2, 2, 3)
    assert grey[..., 0].tolist() == [[0, 128], [255, 255]]


def test_a_jpeg_round_trip_changes_little_and_worse_quality_changes_more():
    field = optics.to_bytes(0.5 + 0.1 * optics.noise(rng(), 64, slope=1.5))
    loss = [np.abs(optics.jpeg_round_trip(field, quality).astype(int) - field).mean() for quality in (95, 30)]
    assert 0 < loss[0] < 3 < 3 * loss[1]
    assert loss[0] < loss[1]


def test_colour_planes_turn_into_a_picture():
    planes = optics.in_colour(np.ones((4, 5), np.float32), (1, 2, 3))
    assert planes.shape == (3, 4, 5) and planes.dtype == np.float32
    assert optics.from_planes(planes)[0, 0].tolist() == [1, 2, 3]
