"""What a model's caller can meet beside the breaker's own exceptions."""


class VectorError(ValueError):
    """Data that no model is asked about: the wrong shape, no number, NaN or infinite. The caller's mistake."""


class NotTrainedError(RuntimeError):
    """The model was asked before it was trained. It says nothing of the model's health."""


class NotTrainableError(TypeError):
    """The model can only predict."""


class ModelError(RuntimeError):
    """The model came to an end and brought nothing usable: no numbers, NaN or infinite ones, a loss that is neither."""
