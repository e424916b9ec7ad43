"""The two cells that the NASNet-A search found, as tables.

A cell holds a list of hidden states. State 0 is its input squeezed to the cell's filters, state 1 the output of the
cell before, fitted to state 0. Each combination adds two branches and appends the sum as the next state.
Source: Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition" (2018), figure 4.
"""

from dataclasses import dataclass
from typing import Literal

Operation = Literal["separable", "average_pool", "max_pool", "identity"]


@dataclass(frozen=True, slots=True)
class Branch:
    """One operation on one hidden state.

    Attributes:
        operation: what is done; "separable" stands for two separable convolutions in a row.
        state: the index of the hidden state it reads.
        size: rows and columns of the kernel; pools are always 3x3.
    """

    operation: Operation
    state: int
    size: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell's wiring.

    Attributes:
        stride: of every operation that reads state 0 or 1.
        combinations: the pairs of branches; pair k makes state k + 2.
        concatenated: the states that make the output, in order.
    """

    stride: int
    combinations: tuple[tuple[Branch, Branch], ...]
    concatenated: tuple[int, ...]


NORMAL = Cell(
    stride=1,
    combinations=(
        (Branch("separable", 0, 5), Branch("separable", 1, 3)),
        (Branch("separable", 1, 5), Branch("separable", 1, 3)),
        (Branch("average_pool", 0), Branch("identity", 1)),
        (Branch("average_pool", 1), Branch("average_pool", 1)),
        (Branch("separable", 0, 3), Branch("identity", 0)),
    ),
    concatenated=(1, 2, 3, 4, 5, 6),
)

REDUCTION = Cell(
    stride=2,
    combinations=(
        (Branch("separable", 0, 5), Branch("separable", 1, 7)),
        (Branch("max_pool", 0), Branch("separable", 1, 7)),
        (Branch("average_pool", 0), Branch("separable", 1, 5)),
        (Branch("identity", 3), Branch("average_pool", 2)),
        (Branch("separable", 2, 3), Branch("max_pool", 0)),
    ),
    concatenated=(3, 4, 5, 6),
)
