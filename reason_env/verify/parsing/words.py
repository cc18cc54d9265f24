r"""The vocabulary of answers: commands, functions and connectives.

To teach the reader a command or a function name, add it here; nothing else changes.
"""

FUNCTIONS = frozenset(
    """
    arcsinh arccosh arctanh arcoth
    asinh acosh atanh acoth arsinh arcosh artanh sech csch acot acsc asec erf erfc Li Si Ci Ei sgn
    sign rank dim
    Im Re abs acos arccos arccot arccsc arcsec arcsin arctan arg asin atan cbrt ceil cos cosh cot
    coth csc det exp floor gcd lcm lg ln log max min sec sin sinh sqrt tan tanh tr
    """.split()
)
"""Names of functions, applied to what follows them."""

GREEK = frozenset(
    """
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi
    rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega
    ell hbar aleph
    """.split()
)
"""Commands for letters; each is a variable."""

DROPPED = frozenset(
    r"""
    \! \( \) \, \: \; \Big \Bigg \Bigl \Bigr \Large \[ \] \angle \bf \big \bigg \biggl \biggr
    \bigl \bigr \bm \boldsymbol \boxed \displaystyle \enspace \fbox \hspace \it \large \left
    \limits \mathbf \mathcal \mathit \mathrm \mathsf \mathstrut \mbox \medspace \middle
    \negmedspace \negthickspace \negthinspace \nolimits \operatorname \phantom \qquad \quad \right
    \rm \scriptstyle \strut \text \textbf \textstyle \thickspace \thinspace \triangle \vec
    \therefore \underline
    """.split()
)
"""Commands for layout, which have no meaning in an answer."""

COMMANDS = {f"\\{name}": name for name in FUNCTIONS} | {
    "\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac", "\\tbinom": "\\binom",
    "\\dbinom": "\\binom", "\\cdot": "*", "\\times": "*", "\\ast": "*", "\\div": "/",
    "\\colon": ":", "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\ge": ">=", "\\geq": ">=",
    "\\geqslant": ">=", "\\lt": "<", "\\gt": ">", "\\neq": "\\ne",
    "\\rightarrow": "\\to", "\\Rightarrow": "\\to", "\\longrightarrow": "\\to",
    "\\Longrightarrow": "\\to", "\\implies": "\\to", "\\simeq": "\\approx", "\\sim": "\\approx",
    "\\lbrace": "\\{", "\\rbrace": "\\}", "\\lbrack": "[", "\\rbrack": "]", "\\lvert": "|",
    "\\rvert": "|", "\\vert": "|", "\\mid": "|", "\\varnothing": "\\emptyset", "\\land": "and",
    "\\wedge": "and", "\\lor": "or", "\\vee": "or", "\\bigcup": "\\cup", "\\bigcap": "\\cap",
    "\\backslash": "\\setminus", "\\prime": "'", "\\degree": "\\circ", "\\textcirc": "\\circ",
    "\\textcircled": "\\circ", "\\lparen": "(", "\\rparen": ")", "\\dots": "\\ldots",
    "\\cdots": "\\ldots", "\\infin": "\\infty", "\\exponentialE": "e",
    "\\imaginaryI": "i", "\\mod": "\\bmod", "\\tg": "tan", "\\ctg": "cot",
    "\\arctg": "arctan", "\\&": "and",
    "\\varepsilon": "\\epsilon", "\\varphi": "\\phi", "\\vartheta": "\\theta",
    "\\textdollar": "\\$", "\\textnormal": "\\text", "\\dotsm": "\\ldots", "\\dotsb": "\\ldots",
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
"""Word after a number -> the power of ten that it multiplies by."""

PROSE = frozenset(
    """
    all an answer any are as at be both by each equals every exactly false for has have if is it
    its no none not of on only per some such that the then to true was when where with yes
    """.split()
)
"""Words of sentences, never variables multiplied with each other."""

CONDITION = frozenset(
    """
    any as assuming at because for given if on provided since such when whenever where with
    """.split()
)
"""Words that begin a condition after the answer."""

COPULAS = frozenset("is are was were equals equal be it's becomes gives give".split())
"""Words between the subject of a sentence and its value."""

FILLERS = frozenset(
    """
    a also answer answers ans both compute computed conclude either equal exactly final finally find
    get got have hence is just obtain only our result so solution solutions solved that the then
    there therefore this thus total value values we which
    """.split()
)
"""Words before an answer that say nothing about it."""

DENIALS = frozenset(
    """
    not no never neither nor cannot can't isn't aren't wasn't wrong false incorrect unless except
    without impossible unknown doubt nobody if or half twice double triple minus negative opposite
    inverse reciprocal maybe perhaps possibly before earlier instead
    """.split()
)
"""Words in the subject of a sentence that deny its value or change it."""

QUALIFIERS = frozenset(
    """
    up down left right upward upwards downward downwards north south east west northeast northwest
    southeast southwest above below over under off more less fewer greater smaller higher lower
    older younger taller shorter longer faster slower heavier lighter increase decrease increased
    decreased increasing decreasing gain loss profit deficit surplus ahead behind early late earlier
    later before after ago bc ad bce ce clockwise counterclockwise anticlockwise inward inwards
    outward outwards minimum maximum min max positive negative female male even odd prime composite
    win wins lose loses lost won credit debit deposit withdrawal discount markup
    """.split()
)
"""Words that turn the meaning of the number next to them; they may not be omitted."""

CHANGES = frozenset(
    """
    not no never nor neither cannot wrong false incorrect unless except without else otherwise
    instead rather impossible unknown maybe perhaps possibly doubt nobody opposite inverse
    reciprocal negative minus plus times half halves third thirds quarter quarters fourths fifths
    sixths tenths hundredths twice double triple thrice square squared cubed factorial root power
    divided over product sum difference quotient hundred thousand million billion trillion dozen
    around nearly roughly about approximately almost more less fewer most least between or up
    zero one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty
    digit digits mod modulo greater than above below under smaller larger percentile percentiles
    multiple multiples divisor divisors base bases exponent logarithm log cube remainder opposite
    place places decimals consecutive
    """.split()
)
"""Words that deny or change the number next to them: a sentence with one is not read."""
