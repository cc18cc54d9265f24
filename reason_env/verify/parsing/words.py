r"""The vocabulary of answers: commands, functions and connectives.

A table is data: adding a command or a function name here is the whole change.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS = _words("""
    asinh acosh atanh acoth arsinh arcosh artanh sech csch acot acsc asec erf erfc Li Si Ci Ei sgn
    sign rank dim
    Im Re abs acos arccos arccot arccsc arcsec arcsin arctan arg asin atan cbrt ceil cos cosh cot
    coth csc det exp floor gcd lcm lg ln log max min sec sin sinh sqrt tan tanh tr
""")
"""Names that are applied to what follows them."""

GREEK = _words("""
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi
    rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega
    ell hbar aleph
""")
"""Names of letters that are variables."""

DROPPED = _words(r"""
    \! \$ \( \) \, \: \; \Big \Bigg \Bigl \Bigr \Large \[ \] \angle \bf \big \bigg \biggl \biggr
    \bigl \bigr \bm \boldsymbol \boxed \displaystyle \enspace \euro \fbox \hspace \it \large \left
    \left. \limits \mathbf \mathcal \mathit \mathrm \mathsf \mathstrut \mbox \medspace \middle
    \negmedspace \negthickspace \negthinspace \nolimits \operatorname \phantom \qquad \quad \right
    \right. \rm \scriptstyle \strut \text \textbf \textstyle \thickspace \thinspace \triangle \vec
    \therefore \underline
""")
"""Layout, which has no meaning in an answer."""

COMMANDS = {f"\\{name}": name for name in FUNCTIONS} | {
    "\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac", "\\tbinom": "\\binom",
    "\\dbinom": "\\binom", "\\cdot": "*", "\\times": "*", "\\ast": "*", "\\div": "/",
    "\\colon": ":", "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\ge": ">=", "\\geq": ">=",
    "\\geqslant": ">=", "\\lt": "<", "\\gt": ">", "\\neq": "\\ne", "\\not=": "\\ne",
    "\\rightarrow": "\\to", "\\Rightarrow": "\\to", "\\longrightarrow": "\\to",
    "\\Longrightarrow": "\\to", "\\implies": "\\to", "\\simeq": "\\approx", "\\sim": "\\approx",
    "\\lbrace": "\\{", "\\rbrace": "\\}", "\\lbrack": "[", "\\rbrack": "]", "\\lvert": "|",
    "\\rvert": "|", "\\vert": "|", "\\mid": "|", "\\varnothing": "\\emptyset", "\\land": "and",
    "\\wedge": "and", "\\lor": "or", "\\vee": "or", "\\bigcup": "\\cup", "\\bigcap": "\\cap",
    "\\backslash": "\\setminus", "\\prime": "'", "\\degree": "\\circ", "\\textcirc": "\\circ",
    "\\textcircled": "\\circ", "\\lparen": "(", "\\rparen": ")", "\\dots": "\\ldots",
    "\\cdots": "\\ldots", "\\infin": "\\infty", "\\mp": "\\mp", "\\exponentialE": "e",
    "\\imaginaryI": "i", "\\mod": "\\bmod", "\\tg": "tan", "\\ctg": "cot",
    "\\arctg": "arctan", "\\&": "and",
    "\\textnormal": "\\text", "\\lceil": "\\lceil", "\\dotsm": "\\ldots", "\\dotsb": "\\ldots",
}  # fmt: skip
"""LaTeX command -> token."""

WORDS = {
    "and": "and", "or": "or", "pi": "\\pi", "infinity": "\\infty", "oo": "\\infty",
    "inf": "\\infty", "union": "\\cup", "percent": "\\%", "percentage": "\\%", "pct": "\\%",
    "in": "\\in", "theta": "\\theta", "alpha": "\\alpha", "beta": "\\beta", "gamma": "\\gamma",
    "lambda": "\\lambda", "mu": "\\mu", "sigma": "\\sigma", "omega": "\\omega", "phi": "\\phi",
    "rho": "\\rho", "deg": "\\circ", "degrees": "\\circ", "degree": "\\circ", "plus": "+",
    "minus": "-",
}  # fmt: skip
"""English word -> token."""

POWERS = {"thousand": "3", "million": "6", "billion": "9", "trillion": "12"}
"""Word after a number -> its power of ten."""

PROSE = _words("""
    all an answer any are as at be both by each equals every exactly false for has have if is it
    its no none not of on only some such that the then to true was when where with yes
""")
"""Words of sentences, never variables multiplied with each other."""

CONDITION = _words("""
    as at because for if on since such when where with
""")
"""A word that begins a condition after the answer."""

CHANGES = _words("""
    not no never nor neither cannot wrong false incorrect unless except without else otherwise
    instead rather impossible unknown maybe perhaps possibly doubt nobody opposite inverse
    reciprocal negative minus plus times half halves third thirds quarter quarters fourths fifths
    sixths tenths hundredths twice double triple thrice square squared cubed factorial root power
    divided over product sum difference quotient hundred thousand million billion trillion dozen
    around nearly roughly about approximately almost more less fewer most least between or up
    zero one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty
    digit digits mod modulo greater than above below under smaller larger
""")
"""Words that take back or change the number they stand beside: a sentence with one is not read."""
