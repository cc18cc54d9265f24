r"""The vocabulary of answers: commands, functions and connectives.

To teach the reader a command or a function name, add it here; nothing else changes.
"""

FUNCTIONS = frozenset(
    """
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
    \! \$ \( \) \, \: \; \Big \Bigg \Bigl \Bigr \Large \[ \] \angle \bf \big \bigg \biggl \biggr
    \bigl \bigr \bm \boldsymbol \boxed \displaystyle \enspace \euro \fbox \hspace \it \large \left
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
    "\\textnormal": "\\text", "\\dotsm": "\\ldots", "\\dotsb": "\\ldots",
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
    its no none not of on only some such that the then to true was when where with yes
    """.split()
)
"""Words of sentences, never variables multiplied with each other."""

CONDITION = frozenset("as at because for if on since such when where with".split())
"""Words that begin a condition after the answer."""

CHANGES = frozenset(
    """
    not no never nor neither cannot wrong false incorrect unless except without else otherwise
    instead rather impossible unknown maybe perhaps possibly doubt nobody opposite inverse
    reciprocal negative minus plus times half halves third thirds quarter quarters fourths fifths
    sixths tenths hundredths twice double triple thrice square squared cubed factorial root power
    divided over product sum difference quotient hundred thousand million billion trillion dozen
    around nearly roughly about approximately almost more less fewer most least between or up
    zero one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty
    digit digits mod modulo greater than above below under smaller larger
    """.split()
)
"""Words that deny or change the number next to them: a sentence with one is not read."""
