"""Support vector regression of a power of the target, for targets that span decades."""

from typing import ClassVar

import numpy as np
from scipy import special, stats

from heads.svr import SVR


class PowerSVR(SVR):
    """`svr` of the Yeo-Johnson transform of the target (Biometrika 87, 954, 2000), transformed back.

    The target is divided by its deviation over the training part before, so that its unit does not matter;
    λ is that of the highest likelihood. γ and C are chosen by the error of the transformed target.
    Predictions stay within the range of the training part.
    """

    weighted: ClassVar[bool] = False

    lambda_: float
    unit_: float  # the target's deviation over the training part
    low_: float  # of the transformed training targets
    high_: float

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: np.ndarray | None, y_val: np.ndarray | None) -> None:
        self.unit_ = float(y.std()) or 1.0
        z, self.lambda_ = stats.yeojohnson(y / self.unit_)
        if not np.isfinite(z).all() or np.ptp(z) == 0:  # a likelihood without a maximum: no power helps
            self.lambda_, z = 1.0, y / self.unit_
        self.low_, self.high_ = float(z.min()), float(z.max())
        z_val = None if y_val is None else stats.yeojohnson(y_val / self.unit_, self.lambda_)
        super()._fit(X, z, X_val, z_val)

    def _predict(self, X: np.ndarray) -> np.ndarray:
        z = np.clip(super()._predict(X), self.low_, self.high_)
        return _inverse(z, self.lambda_) * self.unit_


def _inverse(z: np.ndarray, power: float) -> np.ndarray:
    """Undo the Yeo-Johnson transform of (n,) values.

    >>> y = np.array([-2.0, 0.0, 3.0])
    >>> all(np.allclose(_inverse(stats.yeojohnson(y, p), p), y) for p in (-0.5, 0.0, 1.0, 2.0, 2.5))
    True
    """
    return np.where(z >= 0, special.inv_boxcox1p(z, power), -special.inv_boxcox1p(-z, 2 - power))


HEAD = PowerSVR
