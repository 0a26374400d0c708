"""Typed errors. Every message states the fact, the offending value and the remedy in one line."""


class EvslamError(Exception):
    """Base of everything evslam raises on purpose; the command line prints it without a traceback."""


class DataError(EvslamError):
    """A recording, trajectory or result file cannot be used as it is."""


class CalibrationError(EvslamError):
    """The camera calibration is missing, malformed or does not fit the sensor."""


class ConfigError(EvslamError):
    """A configuration key, value or option cannot be used."""


class SolverError(EvslamError):
    """A numerical solver failed in a way that its caller must know about."""
