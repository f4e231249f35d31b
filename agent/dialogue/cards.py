"""The cards of a dialogue, to be printed: their texts, and what each means."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agent.dialogue.settings import DialogueSettings
from contracts.processes import BY_CODE
from drivers.label.zpl import field_data
from drivers.template import as_text


@dataclass(frozen=True)
class PrintedCard:
    """One card: what the scanner reads of it, what it answers, and what it means there."""

    code: str
    where: str
    meaning: str


def cards_of(dialogue: DialogueSettings) -> Iterator[PrintedCard]:
    """Every card there is, once for each place that takes it, in the order of the settings."""
    control = dialogue.cards
    yield PrintedCard(control.cancel, "any time", "gives the unit up")
    yield PrintedCard(control.back, "any time", "takes the last answer back")
    yield PrintedCard(control.prompt, "any time", "shows again what is asked for")
    for name, step in dialogue.steps.items():
        for code, value in (step.cards or {}).items():
            yield PrintedCard(code, name, as_text(value))
        if step.defects is not None:
            yield PrintedCard(step.defects.none, name, "no defect")
            for part, cards in step.defects.parts:
                for code, value in cards.items():
                    yield PrintedCard(code, f"{name}, {part}", value)
            yield PrintedCard(step.defects.end, name, "no more defects")
    if dialogue.rework is not None:
        yield PrintedCard(dialogue.rework.card, "without a unit", "begins a rework")
        if len(dialogue.rework.return_to) > 1:
            for code in dialogue.rework.return_to:
                yield PrintedCard(code, "rework, process", f"{BY_CODE[code].name_ko} / {BY_CODE[code].name_en}")
        for code, reason in dialogue.rework.reasons.items():
            yield PrintedCard(code, "rework, reason", reason)


def as_table(cards: Iterable[PrintedCard]) -> list[str]:
    """One line for each card."""
    found = list(cards)
    widths = [max(len(text) for text in column) for column in zip(*((c.code, c.where) for c in found), strict=True)]
    return [f"{card.code:<{widths[0]}}  {card.where:<{widths[1]}}  {card.meaning}" for card in found]


def as_zpl(card: PrintedCard) -> str:
    """A label of 60 x 20 mm at 8 dots per mm: a DataMatrix code, the text, and the meaning."""
    fields = (("16,24^BXN,5,200", card.code), ("160,36^A0N,32,28", card.code), ("160,92^A0N,24,22", card.meaning))
    return "^XA^CI28^PW480^LL160" + "".join(f"^FO{where}^FH_^FD{field_data(text)}^FS" for where, text in fields) + "^XZ"
