"""The errors that the core raises: each says what was wrong and what to change."""


class NasError(Exception):
    """Base of every error that a user can cause or repair.

    ``message`` says what was wrong, ``hint`` what would be right, ``field`` names the input at fault
    as a dotted path (``constraints.0.max``) where there is one.
    """

    def __init__(self, message: str, *, hint: str = "", field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InvalidGraph(NasError):
    """A network that cannot be built: shapes that do not fit, a name used twice or not allowed."""


class InvalidArchitecture(NasError):
    """Choices that are not in the search space, or text that does not parse."""


class UnknownName(NasError):
    """A name that is in no registry; the hint holds the nearest known one."""


class InvalidSpec(NasError):
    """A search specification that contradicts itself or its space."""


class Infeasible(NasError):
    """No architecture of the space satisfies the bounds; the message names the bound."""


class SpaceExhausted(NasError):
    """Every architecture of the space has been proposed."""


class UnsupportedKernel(NasError):
    """A predictor was asked for a kernel that it cannot estimate."""


class DeviceUnavailable(NasError):
    """A device that is unknown, has no profile, or whose runtime is not installed."""


class CorruptFile(NasError):
    """A stored file (profile, checkpoint) that cannot be read or belongs to something else."""


class StorageFull(NasError):
    """The disk is full; what was there before is unchanged."""


class TrainingFailed(NasError):
    """A training run that ended without a usable network."""


def nearest(name: str, known: "list[str]") -> str:
    """A hint that names the nearest known name, or all of them when none is near."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    listed = ", ".join(sorted(known))
    return f"did you mean {close[0]!r}? known: {listed}" if close else f"known: {listed}"
