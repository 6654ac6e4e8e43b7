"""Renders llama.cpp's chat templates by Jinja2, for llama/jinja to be compared with.

    templates.py FOLDER > llama/jinja/testdata/renderings.txt
    templates.py FOLDER TEMPLATE CONVERSATION [open]      one rendering, as text

FOLDER holds *.jinja: share/models/templates of the folder that make llama.cpp names. The
conversations are those of llama/jinja/testdata/conversations.json, each with the assistant's turn
opened and not. A line is a template's name and the start of its SHA-256, and for each rendering the
start of the SHA-256 of its text, "-" where the template refuses the conversation, "!" where Jinja2
cannot run it. (The texts are mostly the templates' own, so they are not kept.)

The environment is the one that transformers renders chat templates in. Needs Jinja2 (3.1.6).
"""

import datetime
import hashlib
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

NOW = datetime.datetime(2024, 7, 5, 15, 4, 9)
CONVERSATIONS = pathlib.Path(__file__).parents[2] / "llama/jinja/testdata/conversations.json"


class Refused(Exception):
    pass


class Generation(jinja2.ext.Extension):
    """{% generation %} marks the assistant's words; what it holds is rendered as it is."""

    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def refuse(message):
    raise Refused(message)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    env.globals["raise_exception"] = refuse
    env.globals["strftime_now"] = NOW.strftime
    return env


def render(template, conversation, opened):
    return template.render(
        messages=conversation["messages"],
        add_generation_prompt=opened,
        bos_token="<s>",
        eos_token="</s>",
        **conversation.get("extra", {}),
    )


def short(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def outcome(template, conversation, opened):
    try:
        return short(render(template, conversation, opened))
    except Refused:
        return "-"
    except Exception:
        return "!"


def main():
    folder = pathlib.Path(sys.argv[1])
    conversations = json.loads(CONVERSATIONS.read_text())
    env = environment()
    if len(sys.argv) > 2:
        template = env.from_string((folder / sys.argv[2]).read_text())
        conversation = next(c for c in conversations if c["name"] == sys.argv[3])
        print(render(template, conversation, "open" in sys.argv[4:]), end="")
        return
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_bytes().decode()
        try:
            template = env.from_string(source)
            outcomes = [outcome(template, c, opened) for c in conversations for opened in (False, True)]
        except jinja2.TemplateError:
            outcomes = ["!"] * (2 * len(conversations))
        print(path.name, short(source), *outcomes)


main()
