"""What the notes explain, to be seen and measured: surfaces, critical points, paths of optimizers.

Examples
--------
>>> import fastnn as nn
>>> path = nn.theory.descend(nn.SGD(lr=0.1), nn.theory.surfaces.bowl(), start=(2, 1), steps=2)
>>> path.round(4)
array([[2.  , 1.  ],
       [1.8 , 0.9 ],
       [1.62, 0.81]])
"""

from . import surfaces
from .critical import classify, hessian
from .descent import descend, effective_rates

__all__ = ["classify", "descend", "effective_rates", "hessian", "surfaces"]
