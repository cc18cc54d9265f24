r"""Template: how problems are put to a model and how its responses are read, as one value.

A template is a value: the prompt's texts (`PromptTemplate`), the number of solved examples, the
grading that its answer format needs, the texts that end a response, and the step delimiter. The
wording of a named preset never changes, so that its name in a config is enough to repeat a run; a
better wording gets a new name.

Sources of the public wordings:
    gsm8k-fewshot  the layout of EleutherAI's lm-evaluation-harness, tasks/gsm8k/gsm8k.yaml:
                   Question, Answer, the rationale, `####`, its two stops; with 8 examples
    r1             DeepSeek-R1-Zero (arXiv 2501.12948, table 1), as in `apply_r1_template` of
                   sail-sg/understand-r1-zero, which ends a response at `</answer>`
    qwen-math      Qwen2.5-Math's system message, as in `apply_qwen_math_template` there
    dapo           the prompts of DAPO-Math-17k (arXiv 2503.14476)
    boxed          DeepSeek-R1's advice for use, and Qwen's: the request in the user message
    localisation   SRPO's `_localize_error`, release 67f4a26 (arXiv 2605.25507), in every preset
                   for models that read prose
    partial solution   POPE's system instruction (arXiv 2601.18779, section 4)
LTE prints its hints as images and ExPO's prompt could not be had, so their words are ours;
`benchmarks/methods/prompt_wordings.py` compares candidates for every kind.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from reason_env.codec import DELIMITERS, Codec, HuggingFaceCodec, delimiter_of
from reason_env.errors import ConfigError, ProblemError, UnknownNameError, did_you_mean, shown
from reason_env.problem import Problem
from reason_env.state.prompt import Example, PromptTemplate

AUTO = "auto"
"""The name that leaves the choice to `chosen_name`."""
_BASE = "base"
_FIRST_EXAMPLE = "{solution}\n#### {answer}\n\n"
"""The form of version 0.1: the answer line, as in GSM8K."""
_EXAMPLE_HINT = "write the response of an example, as in {solution}\\n#### {answer}\\n\\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    r"""The prompt's texts, and what belongs to them.

    >>> template = read_template("qwen-math")
    >>> template.prompt.system
    'Please reason step by step, and put your final answer within \\boxed{}.'
    >>> template.grading, template.step_delimiter
    ('math', '\n')
    """

    name: str
    """A preset's name, a file's, or "custom"."""
    prompt: PromptTemplate
    num_examples: int = 0
    """Solved examples that each prompt shows (k)."""
    example: str = _FIRST_EXAMPLE
    """The response of an example, from the end of its question to the next question."""
    grading: str = "strict"
    """What the grader forgives, by name (`reason_env.verify.PRESETS`)."""
    stops: tuple[str, ...] = ()
    """Texts that end a response, if they stand in a closed step; see `EpisodeRules.stops`."""
    delimiter: str = "line"
    """What ends a reasoning step: "line", "paragraph", or a text."""

    def __post_init__(self) -> None:
        if self.num_examples < 0:
            raise ConfigError(f"num_examples must be at least 0, got {self.num_examples!r}")
        if "{answer}" not in self.example:
            raise ConfigError(
                f"example must hold {{answer}}, got {shown(self.example)}; {_EXAMPLE_HINT}"
            )
        if not self.delimiter:
            raise ConfigError(
                f"delimiter must be {', '.join(DELIMITERS)} or a text, got ''; use 'line'"
            )

    @property
    def step_delimiter(self) -> str:
        """The text that ends a reasoning step."""
        return delimiter_of(self.delimiter)

    @property
    def layout(self) -> str | None:
        """Where {solution} and {answer} stand in a response; None: the answer is a last step."""
        return None if self.example == _FIRST_EXAMPLE else self.example

    @property
    def is_complete(self) -> bool:
        """Whether the examples, if it shows any, are drawn."""
        return self.prompt.num_examples == self.num_examples

    def with_changes(
        self,
        *,
        system: str = "",
        guidance: Mapping[str, str] | None = None,
        num_examples: int | None = None,
        bos: Literal["never", "auto", "always"] | None = None,
        chat_arguments: Mapping[str, Any] | None = None,
    ) -> "Template":
        """Replace the system message, the wording of some guidance, or the number of examples.

        Args:
            system: Empty to leave it as it is.
            guidance: Kind -> wording.
            num_examples: None to leave it as it is.
            bos: None to leave it as it is.
            chat_arguments: Name -> value, besides those that the template has.
        """
        prompt = replace(
            self.prompt,
            system=system or self.prompt.system,
            guidance=dict(self.prompt.guidance) | dict(guidance or {}),
            bos=bos or self.prompt.bos,
            chat_arguments=dict(self.prompt.chat_arguments) | dict(chat_arguments or {}),
        )
        if num_examples is None or num_examples == self.num_examples:
            return replace(self, prompt=prompt)
        shown_now = min(num_examples, max(0, len(prompt.examples) - 1))
        if shown_now < num_examples:
            prompt = replace(prompt, examples=(), num_examples=0)
        else:
            prompt = replace(prompt, num_examples=num_examples)
        return replace(self, prompt=prompt, num_examples=num_examples)

    def with_examples(self, problems: Sequence[Problem], content_hash: str) -> "Template":
        """Draw the examples, and one to spare for a prompt whose own problem is among them.

        Args:
            problems: Problems for training, never those of an evaluation.
            content_hash: Of the problem set; it decides which are drawn.

        Raises:
            ProblemError: There are too few problems, or too few with a reference solution.
        """
        digest = hashlib.sha256(f"{content_hash} examples".encode()).digest()
        order = np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(len(problems))
        needs_solution = "{solution}" in self.example
        usable = (
            problem for at in order if (problem := problems[int(at)]).solution or not needs_solution
        )
        drawn = _distinct(usable, self.num_examples + 1)
        if len(drawn) <= self.num_examples:
            kind = " with a reference solution" if needs_solution else ""
            raise ProblemError(
                f"a prompt of {self.num_examples} examples must have {self.num_examples + 1} "
                f"training problems{kind}, got {len(drawn)}; show fewer examples, or add problems"
            )
        examples = tuple(
            Example(question=problem.question, response=self._response(problem))
            for problem in drawn
        )
        prompt = replace(self.prompt, examples=examples, num_examples=self.num_examples)
        return replace(self, prompt=prompt)

    def to_dict(self) -> dict[str, Any]:
        """Every field, JSON-able; `read_template` is the inverse."""
        own = {name: getattr(self, name) for name in _own_names()}
        prompt = {
            item.name: getattr(self.prompt, item.name)
            for item in fields(PromptTemplate)
            if item.name != "num_examples"
        }
        prompt["guidance"] = dict(self.prompt.guidance)
        prompt["chat_arguments"] = dict(self.prompt.chat_arguments)
        prompt["examples"] = [asdict(example) for example in self.prompt.examples]
        return own | {"stops": list(self.stops)} | prompt

    def to_json(self) -> str:
        """`to_dict` as JSON on one line."""
        return json.dumps(self.to_dict())

    def _response(self, problem: Problem) -> str:
        steps = [step.strip() for step in problem.solution]
        if steps and steps[-1].startswith("####"):
            # The layout says where the answer goes.
            steps.pop()
        text = self.example.replace("{solution}", self.step_delimiter.join(steps))
        return text.replace("{answer}", problem.answer)


def _distinct(problems: Iterable[Problem], count: int) -> list[Problem]:
    """The first problems with different questions."""
    found: dict[str, Problem] = {}
    for problem in problems:
        if len(found) == count:
            break
        found.setdefault(problem.question, problem)
    return list(found.values())


def read_template(given: "str | Path | Mapping[str, Any] | Template") -> Template:
    """Read a template: a preset's name, the path of a JSON file, its text, or its fields.

    Fields that are left out are those of the preset that "base" names, by default "boxed"; the
    wording of guidance is replaced kind by kind.

    >>> read_template('{"base": "dapo", "num_examples": 2}').num_examples
    2

    Raises:
        ConfigError: A field is unknown or of the wrong type, or the file is no JSON.
        UnknownNameError: There is no preset and no file of that name.
    """
    if isinstance(given, Template):
        return given
    if isinstance(given, Mapping):
        return _from_fields(given, "custom")
    text = str(given)
    if text.lstrip().startswith("{"):
        return _from_json(text, "custom")
    if text in PRESETS:
        return PRESETS[text]
    path = Path(text).expanduser()
    # Unlike a path's own is_file, this is False for a text that can name no file.
    if os.path.isfile(path):
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"a template must be a JSON file in UTF-8, got {shown(str(path))}: {error.reason} "
                f"at byte {error.start}; check the path"
            ) from error
        return _from_json(text, path.name)
    raise UnknownNameError(
        f"no template {shown(text)}: neither a file nor among {', '.join(PRESETS)}"
        f"{did_you_mean(text, PRESETS)}"
    )


def chosen_name(codec: Codec) -> str:
    """The preset that "auto" stands for: by whether the tokenizer has a chat template.

    >>> from reason_env import ByteCodec
    >>> chosen_name(ByteCodec())
    'ours'
    """
    if not isinstance(codec, HuggingFaceCodec):
        return "ours"
    return "boxed-plain" if codec.tokenizer.chat_template is None else "boxed"


def _from_json(text: str, name: str) -> Template:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"a template must be a JSON object, got {shown(text)}; {error}"
        ) from error
    if not isinstance(data, dict):
        raise ConfigError(
            f'a template must be a JSON object, got {shown(text)}; write {{"base": ...}}'
        )
    return _from_fields(cast("dict[str, Any]", data), name)


def _from_fields(data: Mapping[str, Any], name: str) -> Template:
    base_name = data.get(_BASE, "boxed")
    if not isinstance(base_name, str) or base_name not in PRESETS:
        raise UnknownNameError(
            f"no template {shown(base_name)} to begin with, among {', '.join(PRESETS)}"
            f"{did_you_mean(str(base_name), PRESETS)}"
        )
    base = PRESETS[base_name]
    for key, value in data.items():
        _check_field(key, value)
    own = {key: data[key] for key in _own_names() if key in data}
    prompt = {item.name: data[item.name] for item in fields(PromptTemplate) if item.name in data}
    prompt.pop("num_examples", None)
    if "guidance" in prompt:
        prompt["guidance"] = dict(base.prompt.guidance) | prompt["guidance"]
    examples = tuple(map(Example.read, prompt.pop("examples", ())))
    own.setdefault("num_examples", len(examples) or base.num_examples)
    if "stops" in own:
        own["stops"] = tuple(own["stops"])
    count = own["num_examples"] if examples else 0
    template = replace(
        base,
        **({"name": name} | own),
        prompt=replace(base.prompt, **prompt, examples=examples, num_examples=count),
    )
    if any(not stop for stop in template.stops):
        raise ConfigError(f"stops must be non-empty texts, got {template.stops!r}")
    return template


def _own_names() -> tuple[str, ...]:
    return tuple(item.name for item in fields(Template) if item.name != "prompt")


def _check_field(key: str, value: Any) -> None:
    """Check the name and the type of a field of a JSON template."""
    if key not in _FORMS:
        raise ConfigError(
            f"a template's fields must be among {', '.join(_FORMS)}, got {key!r}"
            f"{did_you_mean(str(key), _FORMS)}"
        )
    form = _FORMS[key]
    parts: Iterable[Any] = ()
    if form == "list of texts":
        is_right = isinstance(value, list | tuple)
        parts = cast("list[Any]", value) if is_right else ()
    elif form == "mapping of texts":
        is_right = isinstance(value, Mapping)
        parts = cast("Mapping[str, Any]", value).values() if is_right else ()
    elif form == "mapping":
        is_right = isinstance(value, Mapping)
    elif form == "list of examples":
        is_right = isinstance(value, list | tuple)
    else:
        is_right = type(value) is (str if form == "text" else int)
    if not (is_right and all(isinstance(part, str) for part in parts)):
        raise ConfigError(f"{key} of a template must be a {form}, got {shown(value)}")


_FORMS: dict[str, str] = (
    {_BASE: "text"}
    | dict.fromkeys((*_own_names(), *(item.name for item in fields(PromptTemplate))), "text")
    | {
        "num_examples": "whole number",
        "stops": "list of texts",
        "guidance": "mapping of texts",
        "chat_arguments": "mapping",
        "examples": "list of examples",
    }
)
"""Field of a JSON template -> what its value must be."""

_BOX = "Please reason step by step, and put your final answer within \\boxed{}."
_LOCALISATION = (
    "You are tasked with localizing the first erroneous thought in your previous solution to this "
    "problem.\n\nProblem: {question}\n\nYour incorrect reasoning chain:\n\n{pieces}\n\nThe final "
    "answer this chain produces is incorrect \u2014 therefore at least one step contains an error. "
    "The error you are looking for is the originating step where a key decision or action derailed "
    "the reasoning, not just the step where the failure ultimately becomes visible. A misread of "
    "the problem, an unjustified assumption, or a logical flaw can look fine for several follow-on "
    "steps before it surfaces in the wrong answer. A step is erroneous if you cannot justify its "
    "claims from the problem statement and earlier verified steps alone. Find the originating "
    "step, not just the symptom.\n\nDo NOT re-solve the problem. Your ONLY task is to identify the "
    "step number of that originating error.\n\nRequirements:\n- Commit to exactly ONE step number "
    "(1 to {num_steps}).\n- Stop at the first step you cannot justify.\n- MANDATORY final line: "
    "your response MUST end with \\boxed{N} on its own line, where N is the step index (1-indexed)"
    " of the first erroneous step in the chain above \u2014 NOT the answer to the problem. Do NOT "
    "add any text after the \\boxed{N}.\n"
)
_PARTIAL_SOLUTION = (
    "You are given a problem and a partial solution. Your task is to carefully study the partial "
    "response, identify what reasoning or steps are already provided, and then complete the "
    "solution from where it left off. Ensure your response is logically consistent and leads to a "
    "complete and correct final answer.\n\nPartial Response:\n{pieces}\nContinue solving the "
    "problem, starting from where the partial response ends.\n\n"
)
_PROSE: dict[str, str] = {
    "answer": "The correct answer is {pieces}. Explain step by step how to get it.\n\n",
    "mistakes": "These answers are wrong: {pieces}. Do not give any of them again, and do not "
    "mention this hint.\n\n",
    "partial_solution": _PARTIAL_SOLUTION,
    "instruction": "{pieces}\n\n",
    "text": "Hint: {pieces}\n\n",
    "localisation": _LOCALISATION,
}


def _chat(**texts: Any) -> PromptTemplate:
    given: dict[str, Any] = {"question": "{question}\n\n", "ending": "", "guidance": _PROSE}
    return PromptTemplate(kind="chat", step="Step {number}: {step}", **(given | texts))


def _plain(**texts: Any) -> PromptTemplate:
    guidance = {kind: text.replace("\n\n", "\n") for kind, text in _PROSE.items()}
    guidance["localisation"] = _LOCALISATION
    given: dict[str, Any] = {"question": "Question: {question}\n", "ending": "Answer:"}
    return PromptTemplate(
        kind="plain", bos="auto", step="Step {number}: {step}", guidance=guidance, **(given | texts)
    )


_OURS = PromptTemplate()
PRESETS: Mapping[str, Template] = {
    template.name: template
    for template in (
        Template(name="ours", prompt=_OURS),
        Template(name="plain", prompt=_OURS),
        Template(name="chat", prompt=replace(_OURS, kind="chat")),
        Template(
            name="boxed",
            prompt=_chat(answer_format=_BOX),
            example="{solution}\nThe answer is \\boxed{{answer}}.\n\n",
            grading="math",
        ),
        Template(
            name="boxed-plain",
            prompt=_plain(answer_format=_BOX + "\n"),
            example=" {solution}\nThe answer is \\boxed{{answer}}.\n\n",
            grading="math",
            stops=("Question:",),
        ),
        Template(
            name="gsm8k-fewshot",
            prompt=_plain(),
            num_examples=8,
            example=" {solution}\n#### {answer}\n\n",
            grading="gsm8k",
            stops=("\n\n", "Question:"),
        ),
        Template(
            name="r1",
            prompt=_plain(
                opening="A conversation between User and Assistant. The User asks a question, and "
                "the Assistant solves it. The Assistant first thinks about the reasoning process "
                "in the mind and then provides the User with the answer. The reasoning process is "
                "enclosed within <think> </think> and answer is enclosed within <answer> </answer> "
                "tags, respectively, i.e., <think> reasoning process here </think> <answer> answer "
                "here </answer>.\n",
                question="User: {question}\n",
                ending="Assistant: <think>",
            ),
            example=" {solution} </think> <answer> {answer} </answer>\n",
            grading="r1",
            stops=("</answer>",),
        ),
        Template(
            name="dapo",
            prompt=_chat(
                question="Solve the following math problem step by step. The last line of your "
                "response should be of the form Answer: $Answer (without quotes) where $Answer is "
                "the answer to the problem.\n\n{question}\n\n",
                answer_format='Remember to put your answer on its own line after "Answer:".',
            ),
            example="{solution}\nAnswer: {answer}\n\n",
            grading="dapo",
        ),
        Template(
            name="qwen-math",
            prompt=_chat(system=_BOX),
            example="{solution}\nThe answer is \\boxed{{answer}}.\n\n",
            grading="math",
        ),
    )
}
"""Name -> template. "plain" and "chat" are version 0.1's prompts: our own model's words, joined or
in a user message."""
