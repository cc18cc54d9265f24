"""Units convert within their dimension; another dimension or currency is another answer."""

import time

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
    ("-7000 g", "-7 kg"),
    ("20 N", "20 newtons"),
    ("5 s", "5 seconds"),
    ("500 cm", "5 m"),
    ("2 L", "2000 ml"),
    ("300 min", "5 h"),
    ("6 in", r"6 \text{ inches}"),
    ("5 kPa", "5000 Pa"),
    ("10 Hz", "10 hertz"),
    ("15 watts", "15 W"),
    ("2.5 hours", "2 hours and 30 minutes"),
    ("40 inches", "3 feet and 4 inches"),
    ("75 min", "1 h 15 min"),
    (r"\$15/hour", "15 dollars per hour"),
    (r"2 \mu m", "2 micrometers"),
    ("2 \xb5m", r"2 \mu m"),
    ("9.8 m/s^2", r"9.8 \frac{\mathrm{m}}{\mathrm{s}^2}"),
    ("3 J/kg", r"3 \mathrm{~J} / \mathrm{kg}"),
    (r"\frac{2\pi}{9}", r"40^\circ"),
    (r"5 \mathrm{m\,s^{-1}}", "5 m/s"),
    ("18 km/h", r"5 \mathrm{m\,s^{-1}}"),
    (r"-3 \mathrm{g\,L^{-1}}", r"-3 \text{ g}/\text{L}"),
    (r"4\pi m s^{-1}", r"4\pi \text{ m/s}"),
    ("12 N m", r"12 \text{ N}\cdot\text{m}"),
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
    ("40 radians", "40 degrees"),
    ("40 rad", r"40^\circ"),
    ("7000 g", "-7 kg"),
    ("5 s", "5 meters"),
    ("20 J", "20 newtons"),
    ("2 hours and 20 minutes", "2.5 hours"),
    (r"\$15/day", "15 dollars per hour"),
    ("5 kHz", "5 Hz"),
    ("3 min", "3 m"),
    ("2.3 hours", "2 hours and 30 minutes"),
    ("12 kg", "12 K"),
    ("5 Mg", "5 mg"),
    ("5 MW", "5 mW"),
    (r"5 \mathrm{m\,s^{-2}}", "5 m/s"),
    (r"5 \mathrm{m\,s}", "5 m/s"),
    (r"5 \mathrm{m\,x^{-1}}", "5 m/s"),
    ("5 m s^{n}", "5 m/s"),
    (r"6 \mathrm{m\,s^{-1}}", "5 m/s"),
    (r"3\sqrt{2} m s^{-1}", "3 m/s"),
    (r"3 m\sqrt{2}s^{-1}", "3 m/s"),
    (r"5 \mathrm{s\,m^{-1}}", "5 m/s"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_quantity_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_quantity_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)


def test_a_product_of_many_letters_is_compared_with_a_unit_in_little_time() -> None:
    start = time.process_time()
    assert grade(r"\boxed{5" + " m" * 2400 + "}", "5 m/s").outcome is Outcome.INCORRECT
    # 0.05 s on one core; every suffix of the letters read as a unit takes 15 s.
    assert time.process_time() - start < 2.0
