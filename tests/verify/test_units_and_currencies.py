"""Units convert within their dimension; another dimension or currency is another answer."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    (r"5 \text{ m/s}", r"5 \mathrm{~m} / \mathrm{s}"),
    ("5 m/s", r"5 \text{ m/s}"),
    ("5", r"5 \text{ m/s}"),
    ("70 mph", "70 miles per hour"),
    (r"5 \frac{\text{m}}{\text{s}}", "5 m/s"),
    ("5 meters per second", "5 m/s"),
    ("18 km/h", "5 m/s"),
    (r"\$5", "5 dollars"),
    (r"\$5.00", r"\$5"),
    ("5 euros", "\u20ac5"),
    ("\u20ac5", r"5 \text{ euros}"),
    ("5 newtons", r"5 \text{ N}"),
    ("5 ohms", r"5\Omega"),
    ("3 kWh", "3 kWh"),
    ("1.6", r"\boxed{1.6} \mathrm{~cm}"),
    ("1.6 cm", r"\boxed{1.6} \mathrm{~cm}"),
    ("16 mm", r"\boxed{1.6} \mathrm{~cm}"),
    (r"12 \text{ square meters}", r"12 \text{ m}^2"),
    (r"9.8 \text{ m/s}^2", r"9.8 \mathrm{~m/s^2}"),
    (r"5 \text{ kg} \cdot \text{m}^2", r"5 \text{ kg m}^2"),
    (r"25^\circ \text{C}", "25 degrees Celsius"),
    (r"25^\circ C", "25 degrees Celsius"),
    (r"135,000 \text{ cm}", "135000 cm"),
    ("5 gallons", "5 gal"),
    (r"1,350 \text{ m}", r"135,000 \mathrm{~cm}"),
    (r"3 \text{ hours}", "3 hrs"),
    (r"10 \text{ m}\cdot\text{s}^{-1}", "10 m/s"),
    ("5 percent", r"5\%"),
    ("$12", "12"),
    ("12 dollars", "12"),
    (r"0.5 \mathrm{~g/cm^3}", r"0.5 \text{ g/cm}^3"),
    ("8 years", "8"),
    ("\u00a35", "5 pounds"),
]
INCORRECT = [
    ("\u20ac5", r"\$5"),
    (r"\$5", "\u20ac5"),
    ("\u00a35", r"\$5.00"),
    ("5 dollars", "\u00a35"),
    ("70 km per hour", "70 miles per hour"),
    ("70 meters per second", "70 miles per hour"),
    ("1.6 m", r"\boxed{1.6} \mathrm{~cm}"),
    (r"1.6 \mathrm{~km}", r"\boxed{1.6} \mathrm{~cm}"),
    ("20 joules", "20 newtons"),
    ("12 m", r"12 \text{ m}^2"),
    (r"135,000 \mathrm{~m}", r"135,000 \mathrm{~cm}"),
    ("12,000 cents", "12,000 dollars"),
    ("40 kph", "40 mph"),
    ("12 kg", "12 cm"),
    ("8 months", "8 years"),
    ("25 degrees Fahrenheit", "25 degrees Celsius"),
    (r"25^\circ F", r"25^\circ C"),
    ("5 V", "5 A"),
    ("5 volts", "5 amps"),
    (r"5 \text{ W}", r"5 \text{ J}"),
    ("5 m/s", "5 m/s^2"),
    ("5 km/h", "5 m/s"),
    ("5 oranges", "5 apples"),
    (r"5 \text{ blue}", r"5 \text{ red}"),
    ("\u00a55", r"\$5"),
    (r"5 \text{ kg}", r"5 \text{ lb}"),
    (r"5 \text{ cm}^3", r"5 \text{ cm}^2"),
    ("5 liters", "5 gallons"),
    (r"60 \text{ min}", r"60 \text{ s}"),
    ("5 yuan", "5 dollars"),
    ("3 kWh", "3 kW"),
    (r"5 \text{ m/min}", r"5 \text{ m/s}"),
    (r"5 \text{ g/cm}^3", r"5 \text{ kg/m}^3"),
    ("5 cents", r"\$5"),
    ("3 dogs and 5 cats", "3 cats and 5 dogs"),
    (r"10 \text{ m}\cdot\text{s}", "10 m/s"),
    (r"5 \mathrm{~mm}", r"5 \mathrm{~m}"),
    (r"5 \text{ miles}", r"5 \text{ minutes}"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_quantity_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_quantity_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
