"""Units behind (and before) a number: what they measure, by how much, and whether two of them agree."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from frown.tasks.grading.characters import THIN

_F = Fraction
_KNOWN: dict[str, tuple[str, Fraction]] = {}


def _add(dimension: str, names: dict[str, Fraction | int | str]) -> None:
    for spelled, factor in names.items():
        for name in spelled.split():
            _KNOWN[name] = (dimension, _F(factor))


_add(
    "length",
    {
        "m meter meters metre metres": 1, "km kilometer kilometers kilometre kilometres kms": 1000,
        "cm centimeter centimeters centimetre centimetres cms": "0.01",
        "mm millimeter millimeters millimetre millimetres": "0.001", "nm nanometers": "1e-9", "µm μm microns": "1e-6",
        "inch inches in in. ″ \"": "0.0254", "ft foot feet": "0.3048",
        "yd yds yard yards": "0.9144", "mi mile miles": "1609.344",
    },
)  # fmt: skip
_add(
    "mass",
    {
        "kg kgs kilogram kilograms kilo kilos": 1000, "g gram grams gm gms": 1, "mg milligram milligrams": "0.001",
        "lb lbs pound_mass": "453.59237", "oz ounce ounces": "28.349523125", "ton tons tonne tonnes": 10**6,
    },
)  # fmt: skip
_add(
    "time",
    {
        "s sec secs second seconds": 1, "ms milliseconds millisecond": "0.001", "min mins minute minutes": 60,
        "h hr hrs hour hours": 3600, "day days": 86400, "week weeks wk wks": 604800,
        "fortnight fortnights": 1209600,
    },
)  # fmt: skip
_add("months", {"month months": 1, "year years yr yrs": 12, "decade decades": 120, "century centuries": 1200})
_add(
    "volume",
    {
        "l liter liters litre litres": 1, "ml milliliter milliliters millilitre millilitres": "0.001", "cl": "0.01",
        "dl": "0.1", "gal gallon gallons": "3.785411784", "quart quarts qt": "0.946352946",
        "pint pints pt": "0.473176473",
        "cc": "0.001",
    },
)  # fmt: skip
_add("dollar", {"$ dollar dollars usd us$ buck bucks": 1, "cent cents ¢": "0.01"})
_add("euro", {"€ euro euros eur": 1})
_add("pound", {"£ gbp quid": 1, "pence": "0.01"})
for _i, _names in enumerate(
    (
        "¥ yen jpy cny rmb yuan",
        "₹ rs rupee rupees inr",
        "₩ won krw",
        "₽ rub ruble rubles",
        "chf francs",
        "r$ reais",
        "₿ btc",
    )
):
    _add(f"currency {_i}", {_names: 1})
_add("angle", {"° deg degree degrees": 1})
_add("temperature c", {"°c celsius": 1})
_add("temperature f", {"°f fahrenheit": 1})
_add("temperature k", {"kelvin kelvins": 1})
_add("angle rad", {"rad rads radian radians": 1})
_add("share", {"% percent per_cent pct percentage": 1})
_add("speed", {"mph": 1})
_add("speed m", {"kmh kph kmph": 1})
_add("byte", {"byte bytes": 1, "kb": 1000, "mb": 10**6, "gb": 10**9, "tb": 10**12})
_add("pair", {"pair pairs": 1})
for _i, _names in enumerate(
    ("Ω ω ohm ohms", "hz hertz", "j joule joules", "kj", "w watt watts", "kw", "kwh", "v volt volts",
     "n newton newtons", "pa kpa mpa", "mol moles mole", "cal kcal calories", "px pixels pixel",
     "a amp amps ampere amperes", "au", "ly", "ev", "acre acres", "hectare hectares ha",
     "pt pts points point", "fps", "rpm", "db", "knots")
):  # fmt: skip
    _add(f"other {_i}", {_names: 1})

_SYMBOLS = "%$€£¥₹₩₽₿¢°Ωω″"
STUCK = frozenset(
    "km cm mm nm µm μm m kg kgs g mg lb lbs oz s sec secs ms min mins h hr hrs d l L ml mL ML cl dl gal ft in yd "
    "mi kph mph kmh "
    "Hz kHz MHz GHz J kJ W kW MW kWh V kV N kN Pa kPa mol cal kcal px pt pts rad deg A mA kb KB MB GB TB "
    "cc C F K Ω eV USD EUR GBP INR JPY CHF dollars cents euros apples miles hours days minutes seconds percent degrees "
    "am pm x° yrs yr".split()
) - {"am", "pm", "x°"}
"""What may stand against a number as a unit; any other letters there are variables."""

_POWER = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_TOKEN = re.compile(
    rf"[{_SYMBOLS}]+[CcFf]?|[^\W\d_]+(?:['-][^\W\d_]+)*\.?|\^\s*\{{?\s*-?\d\s*\}}?|/|\*|\([^()]*\)|[ {THIN}]+|."
)


@dataclass(frozen=True)
class Unit:
    """What a number counts or measures."""

    dimensions: frozenset[tuple[str, int]] = frozenset()
    """Of known units, with their powers."""
    factor: Fraction = Fraction(1)
    """To the base unit of its dimensions."""
    nouns: frozenset[str] = frozenset()
    """Stems of the words that are no known units."""

    @property
    def known(self) -> bool:
        """Whether all of it is measured in known units."""
        return bool(self.dimensions) and not self.nouns


NONE = Unit()
_FILLER = frozenset(
    "the a an of total altogether all more left each in whole full old long high tall wide away remaining more "
    "extra about "
    "apiece together exactly only us worth too now later ago overall additional".split()
)


def parse_unit(text: str) -> Unit:
    """The unit in the words and signs behind a number; words that say nothing about it are passed over."""
    dimensions: dict[str, int] = {}
    factor, nouns = Fraction(1), set()
    sign, power_next = 1, 1
    last: tuple[str, Fraction, int] | None = None
    for token in _TOKEN.findall(text):
        word = token.strip().rstrip(".").lower()
        if not word or word == "*":
            continue
        if word in ("/", "per"):
            sign = -1
        elif word in _POWER and last is not None and word in ("squared", "cubed"):
            name, size, direction = last
            dimensions[name] = dimensions.get(name, 0) + direction * (_POWER[word] - 1)
            factor *= size ** (direction * (_POWER[word] - 1))
        elif word in _POWER:
            power_next = _POWER[word]
        elif token.startswith("^"):
            power = int(re.sub(r"[^\d-]", "", token) or 1)
            if last is not None and power:
                name, size, direction = last
                dimensions[name] = dimensions.get(name, 0) + direction * power - direction
                factor *= size ** (direction * power - direction)
        elif word in _KNOWN or word.removesuffix("s") in _KNOWN:
            name, size = _KNOWN.get(word) or _KNOWN[word.removesuffix("s")]
            dimensions[name] = dimensions.get(name, 0) + sign * power_next
            factor *= size ** (sign * power_next)
            last, power_next = (name, size, sign), 1
        elif word.isalpha() or "-" in word:
            if word not in _FILLER and sign == 1:
                nouns.add(_stem(word))
    shown = frozenset((n, p) for n, p in dimensions.items() if p)
    return Unit(shown, factor, frozenset(nouns))


def convert(value: Fraction, unit: Unit, to: Unit) -> Fraction | None:
    """A value in another unit; None where they do not measure the same."""
    if unit.dimensions != to.dimensions:
        return None
    return value * unit.factor / to.factor


def agree(gold: Unit, answer: Unit) -> bool:
    """Whether an answer's unit contradicts the reference's in nothing; one that states none contradicts nothing."""
    if gold == NONE or answer == NONE:
        return True
    if gold.dimensions and answer.dimensions:
        return gold.dimensions == answer.dimensions
    if gold.nouns and answer.nouns:
        return bool(gold.nouns & answer.nouns)
    return not (gold.dimensions and answer.nouns) and not (gold.nouns and answer.dimensions)


def _stem(word: str) -> str:
    for ending, other in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + other
    return word
