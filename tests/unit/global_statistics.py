"""What a picture gives away without being looked at: its global statistics, and how well they tell two classes apart.

Shared by the tests of the phantoms. No test and no phantom lives here.
"""

from io import BytesIO

import numpy as np

JPEG_QUALITY = 90
ROTATIONS = 4  # random halvings of the images; their mean is far steadier than one
RIDGE = 1.0  # scikit-learn's default strength of regularisation


def global_statistics(images):
    """Eleven numbers per picture in which no lesion can be seen.

    Args:
        images: uint8 (N, height, width, 3), RGB.

    Returns:
        float64 (N, 11): mean and spread of each channel, log ratios red/green and blue/green, spread of the
        luminance over its mean, log of the JPEG file's size, log of the total Fourier power without the mean
        (each mode weighted by its frequency, so that not only the largest blob counts).

    Raises:
        ValueError: if the images aren't uint8 RGB.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise ValueError(f"images are {images.dtype} {images.shape}; expected uint8 (N, height, width, 3).")
    return np.array([_statistics_of_one(image) for image in images])


def shortcut_auc(images, labels):
    """AUC of a logistic regression on the global statistics, fit on one half and scored on the other.

    Each of four random halvings (stratified, the same every time) is used both ways; the eight AUCs are averaged.
    About 0.5: only what is really in the picture can tell the classes apart.

    Args:
        images: uint8 (N, height, width, 3).
        labels: (N,), 0 or 1.

    Returns:
        float.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import RepeatedStratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    statistics, labels = global_statistics(images), np.asarray(labels)
    halvings = RepeatedStratifiedKFold(n_splits=2, n_repeats=ROTATIONS, random_state=0)
    scores = []
    for seen, unseen in halvings.split(statistics, labels):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=RIDGE, max_iter=1000))
        model.fit(statistics[seen], labels[seen])
        scores.append(roc_auc_score(labels[unseen], model.decision_function(statistics[unseen])))
    return float(np.mean(scores))


def _statistics_of_one(image):
    from PIL import Image

    pixels = image.astype(np.float64) / 255
    mean, spread = pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1))
    floor = 1 / 255
    red, green, blue = mean + floor
    luminance = pixels.mean(axis=2)
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY)
    rows, columns = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None, :]
    power = np.abs(np.fft.rfft2(luminance)) ** 2 * np.hypot(rows, columns)
    return [
        *mean,
        *spread,
        np.log(red / green),
        np.log(blue / green),
        luminance.std() / (luminance.mean() + floor),
        np.log(file.tell()),
        np.log(power.sum() + floor),
    ]
