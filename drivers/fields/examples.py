"""An example of a message in the settings has to give a value to every point that may stand in it."""

from contracts.errors import DataError
from drivers.fields.messages import Message, kind_of, values_of
from drivers.fields.settings import FieldSettings


def check_examples(settings: FieldSettings) -> None:
    """Raises ValueError for an example that its own settings do not understand."""
    for kind in settings.kinds or (None,):
        own = settings.kinds[kind].message if kind is not None else None
        message = settings.message_of(kind)
        if message.example is None or (settings.kinds and own is None):
            continue
        where = "message.example" if kind is None else f"kinds.{kind}.message.example"
        body = message.example.encode(message.encoding)
        try:
            found = kind_of(body, settings)
        except DataError as error:
            raise ValueError(f"{where}: {error}") from error
        if found != kind:
            raise ValueError(f"{where}: is a message of kind {found}")
        for name, value in values_of([Message(body, kind)], settings).items():
            if value.problem is not None and kind in settings.kinds_of(settings.points[name]):
                raise ValueError(f"{where}: point {name} has no value in it: {value.problem}")
