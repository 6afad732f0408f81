"""When an engine that failed by itself is started again, and when that is given up."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from fooocus_nb.errors import ConfigurationError, nearest

__all__ = ["RestartPolicy", "Restarts", "restart_policy"]

NEVER = "never"
ON_FAILURE = "on-failure"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How an engine that dies, or does not answer any more, is restarted without being asked.

    A generation that was in flight raises all the same, and is never sent again.

    Attributes
    ----------
    limit : int
        How many restarts there may be within `window`; one more failure is final. Default 5.
    window : float
        Seconds that a restart counts. Default 600.
    first_delay : float
        Seconds before the first restart of a window; each further one waits twice as long as the
        one before. Default 1.
    longest_delay : float
        Seconds that a restart waits at most. Default 60.

    Raises
    ------
    ConfigurationError
        When a number is out of range.
    """

    limit: int = 5
    window: float = 600.0
    first_delay: float = 1.0
    longest_delay: float = 60.0

    def __post_init__(self) -> None:
        for name in ("window", "first_delay", "longest_delay"):
            value = getattr(self, name)
            if not value >= 0:
                msg = f"{name}={value!r}: give a number of seconds from 0 up."
                raise ConfigurationError(msg)
        if isinstance(self.limit, bool) or self.limit < 1:
            msg = f'limit={self.limit!r}: give a whole number from 1 up, or restart="{NEVER}".'
            raise ConfigurationError(msg)

    def delay(self, before: int) -> float | None:
        """Return how long to wait when there were `before` restarts in the window.

        Returns
        -------
        float or None
            Seconds; None when there were too many.
        """
        if before >= self.limit:
            return None
        # A large exponent is no number any more, long after the longest delay.
        return min(self.first_delay * 2.0 ** min(before, 60), self.longest_delay)


def restart_policy(given: RestartPolicy | str | None) -> RestartPolicy | None:
    """Return the policy that ``start(restart=...)`` means.

    Parameters
    ----------
    given : RestartPolicy, {"never", "on-failure"} or None
        What the user gave.

    Returns
    -------
    RestartPolicy or None
        None never restarts.

    Raises
    ------
    ConfigurationError
        When it is something else.
    """
    if given is None or given == NEVER:
        return None
    if given == ON_FAILURE:
        return RestartPolicy()
    if isinstance(given, RestartPolicy):
        return given
    hint = nearest(str(given), (NEVER, ON_FAILURE))
    msg = f'restart={given!r}: give "{NEVER}", "{ON_FAILURE}" or a RestartPolicy.{hint}'
    raise ConfigurationError(msg)


class Restarts:
    """Counts the restarts of one engine.

    Parameters
    ----------
    policy : RestartPolicy
        How many there may be.
    """

    def __init__(self, policy: RestartPolicy) -> None:
        self.policy = policy
        self._times: deque[float] = deque()

    @property
    def count(self) -> int:
        """How many there were within the policy's window."""
        oldest = time.monotonic() - self.policy.window
        while self._times and self._times[0] < oldest:
            self._times.popleft()
        return len(self._times)

    def next_delay(self) -> float | None:
        """Return how many seconds the next one has to wait; None when there were too many."""
        return self.policy.delay(self.count)

    def add(self) -> None:
        """Count one."""
        self._times.append(time.monotonic())
