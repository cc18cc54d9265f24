"""Text to token ids and back, and where a reasoning step ends.

A step boundary is an index into token ids, never into text, so that cutting a response at a step
is exact. The step delimiter therefore belongs to the codec: a step ends with the first token after
which the text since the last boundary, without the white space that it begins with, contains the
delimiter. A blank line therefore is no step; it belongs to the step that follows.

The built-in `ByteCodec` is lossless for every Python string and has 258 ids and no files.
`HuggingFaceCodec` wraps any Hugging Face tokenizer and re-encodes nothing: ids stay ids.
"""

from reason_env.codec.byte_codec import EOS_ID, PAD_ID, ByteCodec
from reason_env.codec.delimiters import BLANKS, DELIMITERS, delimiter_of
from reason_env.codec.hugging_face import HuggingFaceCodec, encodable
from reason_env.codec.load import load_codec
from reason_env.codec.protocol import Codec, check_token_ids
from reason_env.codec.steps import has_text, may_end_step, step_ends, text_of
from reason_env.codec.token_bytes import BYTE_OF_CHARACTER, byte_table

__all__ = [
    "BLANKS",
    "BYTE_OF_CHARACTER",
    "DELIMITERS",
    "EOS_ID",
    "PAD_ID",
    "ByteCodec",
    "Codec",
    "HuggingFaceCodec",
    "byte_table",
    "check_token_ids",
    "delimiter_of",
    "encodable",
    "has_text",
    "load_codec",
    "may_end_step",
    "step_ends",
    "text_of",
]
