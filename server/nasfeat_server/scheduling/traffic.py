"""Which of two versions of the model a new call goes to: decided by counting, so that a share is kept exactly."""


class Split:
    """Sends a share of what it is asked about to the second of two, as evenly spread as can be.

    Counting and not chance: after n calls the second has had n x share of them, rounded, however few they are.
    """

    def __init__(self, share: float) -> None:
        """Send `share` of all to the second, from 0 to 1.

        Raises:
            ValueError: `share` is something else.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"a share is from 0 to 1, not {share:g}")
        self.share = share
        self._owed = 0.0

    def second(self) -> bool:
        """Say whether the next one goes to the second."""
        self._owed += self.share
        # Half a call early: the first of two calls at a half goes there already.
        due = self._owed >= 0.5
        if due:
            self._owed -= 1.0
        return due and self.share > 0
