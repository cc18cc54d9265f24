r"""Writes the signs of Unicode as LaTeX or ASCII: `\u2265`, raised digits, full-width forms.

Invisible characters (zero-width, bidirectional controls) and digits of other scripts make a text
unreadable, so that two answers that look equal are equal strings.
"""

import re
import unicodedata

from reason_env.verify.parsing.unreadable import UnreadableError

_GREEK = (
    ",,Gamma,Delta,,,,Theta,,,Lambda,,,Xi,,,,,Sigma,,,Phi,,Psi,,,,,,,,,alpha,beta,gamma,delta,"
    "epsilon,zeta,eta,theta,iota,kappa,lambda,mu,nu,xi,,,rho,,sigma,tau,upsilon,phi,chi,psi,omega"
).split(",")
"""LaTeX names from capital alpha on; empty where a letter is no command, or is another sign."""
_UNICODE = str.maketrans({
    "\u03c0": "\\pi ", "\u221e": "\\infty ", "\u2264": "<=", "\u2265": ">=", "\u2260": "\\ne ",
    "\u222a": "\\cup ", "\u2229": "\\cap ", "\u2208": "\\in ", "\u00d7": "*", "\u00b7": "*",
    "\u22c5": "*", "\u00f7": "/", "\u2212": "-", "\u2013": "-", "\u00b0": "^\\circ ",
    "\u221a": "\\sqrt ", "\u2205": "\\emptyset ",
    "\u2248": "\\approx ", "\u00b1": "\\pm ", "\u00a0": " ", "\u2009": " ", "\u202f": " ",
    "\u3000": " ", "\u2032": "'", "\u2019": "'", "\u2234": " ",
    "\u2a7d": "<=", "\u2a7e": ">=", "\u2200": "\\forall ", "\u2211": "\\sum ", "\u222b": "\\int ",
    "\u2010": "-", "\u2011": "-", "\u2044": "/", "\u2219": "*", "\u211d": "\\mathbb{R}",
    "\u20ac": "\\euro ",
    "\u00a3": "\\pounds ", "\u00a5": "\\yen ", "\u20b9": "\\rupee ", "\u3001": ",",
    "\u3002": ".", "\u03a9": "\\text{ohm}", "\u2126": "\\text{ohm}", "\u2261": "\\equiv ",
    "\u2102": "\\mathbb{C}", "\u2124": "\\mathbb{Z}", "\u2115": "\\mathbb{N}",
    "\u211a": "\\mathbb{Q}",
   
    "\u2014": "-", "\u2026": "\\ldots ", "\u22ef": "\\ldots ", "\u2308": "\\lceil ",
    "\u2309": "\\rceil ", "\u230a": "\\lfloor ", "\u230b": "\\rfloor ", "\u2209": "\\notin ",
    "\u27e8": "\\langle ", "\u27e9": "\\rangle ", "\u2223": "|", "\u221b": "\\sqrt[3]",
    "\u00b5": "\\mu ", "\u2103": "\\text{celsius}", "\u2109": "\\text{fahrenheit}",
    "\u2220": "\\angle ", "\u25b3": "\\triangle ", "\u2192": "\\to ",
} | {chr(0x391 + at): f"\\{name} " for at, name in enumerate(_GREEK) if name}
  | {chr(0x2460 + digit): f" {digit + 1} ;" for digit in range(9)}
  | {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
  | {sign: f"\\frac{{{top}}}{{{bottom}}} " for sign, top, bottom in (
        ("\u00bd", 1, 2), ("\u00bc", 1, 4), ("\u00be", 3, 4), ("\u2153", 1, 3),
        ("\u2154", 2, 3), ("\u2155", 1, 5), ("\u2156", 2, 5), ("\u2157", 3, 5),
        ("\u2158", 4, 5), ("\u2159", 1, 6), ("\u215a", 5, 6), ("\u2150", 1, 7),
        ("\u215b", 1, 8), ("\u215c", 3, 8), ("\u215d", 5, 8), ("\u215e", 7, 8),
        ("\u2151", 1, 9), ("\u2152", 1, 10))})  # fmt: skip
"""Sign -> its LaTeX or ASCII; circled digits number the parts of an answer; full-width forms are
the ASCII signs that East Asian input methods write."""
_RAISED = dict(zip("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207f"
                   "\u2071\u02e3", "0123456789+-nix", strict=True))  # fmt: skip
_LOWERED = dict(zip("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089\u208a\u208b"
                    "\u2099\u1d62\u2096\u2c7c", "0123456789+-nikj", strict=True))  # fmt: skip
_RUN_RAISED = re.compile(f"[{''.join(_RAISED)}]+")
_RUN_LOWERED = re.compile(f"[{''.join(_LOWERED)}]+")
_INVISIBLE = frozenset(("Cf", "Cs", "Co", "Cc"))
"""Unicode categories: format, surrogate, private use and control characters."""


def in_ascii(text: str) -> str:
    r"""Write a text in ASCII; letters without a LaTeX command stay.

    Raises:
        UnreadableError: It has characters that cannot be seen, or digits of another script.

    >>> in_ascii("x\u2074 \u2265 \u2153")
    'x^{4} >= \\frac{1}{3} '
    """
    if any(unicodedata.category(c) in _INVISIBLE and c not in "\n\t" for c in text):
        raise UnreadableError("characters that cannot be seen")
    text = _RUN_RAISED.sub(lambda run: "^{" + "".join(map(_RAISED.__getitem__, run[0])) + "}", text)
    text = _RUN_LOWERED.sub(
        lambda run: "_{" + "".join(map(_LOWERED.__getitem__, run[0])) + "}", text
    )
    text = text.translate(_UNICODE)
    if any(c.isdigit() and not c.isascii() for c in text):
        raise UnreadableError("digits of another script")
    return text
